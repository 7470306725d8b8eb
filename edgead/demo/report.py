"""One self-contained HTML page about the demo: figures, scores, pictures, commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import images, page, strict_json
from edgead.datasets import GOOD
from edgead.detection import Detection
from edgead.detector import EdgeDetector
from edgead.errors import DataError
from edgead.markdown import figure
from edgead.markup import Html, element, joined

TAUGHT_FIGURES = "taught.json"
"""What ``edgead evaluate --json`` writes about the taught detector, in the demo's folder."""

_PICTURES_EACH = 3
_PICTURE_WIDTH = 330
_STRIP_WIDTH, _STRIP_ROW, _STRIP_LABEL = 860, 34, 120


@dataclass(frozen=True)
class Step:
    """A command that the demo ran, and how long it took."""

    command: str
    seconds: float


@dataclass(frozen=True)
class DemoReport:
    """What the page is made of; the files are those that the commands wrote.

    Attributes:
        artifact: The exported file of the trained detector.
        evaluation: ``edgead evaluate --json``.
        export: ``report.json`` of the export.
        bench: ``edgead bench --json``.
        steps: The commands, in order.
        taught: The taught detector's file and its evaluation; ``None`` where none was taught.
    """

    artifact: Path
    evaluation: dict[str, Any]
    export: dict[str, Any]
    bench: dict[str, Any]
    steps: tuple[Step, ...]
    taught: tuple[Path, dict[str, Any]] | None = None

    @classmethod
    def from_folder(
        cls, folder: Path, artifact: Path, steps: Sequence[Step], taught: Path | None = None
    ) -> DemoReport:
        """Read what the demo's commands left in its folder."""
        return cls(
            artifact,
            _read(folder / "evaluation.json"),
            _read(artifact.with_name("report.json")),
            _read(folder / "bench.json"),
            tuple(steps),
            None if taught is None else (taught, _read(folder / TAUGHT_FIGURES)),
        )

    def results(self) -> list[tuple[str, str]]:
        """Return each detector's name and what it found, the taught one first."""
        evaluations = [("EfficientAd-N, trained", self.evaluation)]
        if self.taught is not None:
            evaluations.insert(0, ("PatchCore, taught", self.taught[1]))
        return [(name, _found(evaluation)) for name, evaluation in evaluations]

    def write(self, path: Path) -> None:
        """Draw the pictures and write the page."""
        body = page.lines(
            self._head(),
            *self._comparison(),
            element("h2", "Every test photo's score"),
            _score_strip(self.evaluation),
            element("h2", "Detections"),
            page.soft(
                "Above: the photo. Below: the heat map of the trained detector"
                + ("" if self.taught is None else ", and that of the taught one")
                + "; white outlines are the regions above the threshold."
            ),
            *self._pictures(),
            element("h2", "Accuracy by defect"),
            _accuracy_table(self.evaluation),
            element("h2", "Speed and memory on this machine"),
            _bench_table(self.bench),
            element("h2", "The commands"),
            _command_list(self.steps),
        )
        page.write(path, "edgead demo", body)

    def _head(self) -> Html:
        errors = self.evaluation["misses"] + self.evaluation["false_positives"]
        parity = self.export["variants"][0]["parity"]
        figures = (
            ("image AUROC", f"{self.evaluation['image_auroc']:.3f}"),
            ("AU-PRO", f"{self.evaluation['au_pro']:.3f}"),
            ("wrong verdicts", f"{errors} of {self.evaluation['images']}"),
            ("frames per second", f"{self.bench['fps']:.0f}"),
            ("file to copy", f"{self.artifact.stat().st_size / 1e6:.1f} MB"),
            ("memory", f"{self.bench['peak_rss_mib']:.0f} MiB"),
        )
        return joined(
            element("h1", "edgead demo: turned flanges on a belt"),
            element(
                "p",
                "Rendered photos; all figures were measured on this machine by the commands below. "
                "The detector was trained on good parts only.",
            ),
            page.headline(figures),
            page.soft(
                "Scores of the exported file and of PyTorch differ by "
                f"{parity['max_score_diff_relative']:.0e} of the score range on {parity['images']} "
                f"photos; {parity['label_flips']} verdicts change."
            ),
        )

    def _comparison(self) -> list[Html]:
        """Put the taught detector beside the trained one, whichever is better."""
        if self.taught is None:
            return []
        seconds = {step.command.split()[1]: step.seconds for step in self.steps}
        made = {
            "taught (edgead teach)": (self.taught[1], seconds["teach"]),
            "trained (edgead train)": (self.evaluation, seconds["train"]),
        }
        kinds = list(self.evaluation["by_defect"])
        rows = [
            (
                name,
                f"{took:.0f} s",
                f"{found['image_auroc']:.3f}",
                f"{found['au_pro']:.3f}",
                str(found["false_positives"]),
                *(
                    f"{(kind := found['by_defect'][key])['images'] - kind['misses']}"
                    f" of {kind['images']}"
                    for key in kinds
                ),
            )
            for name, (found, took) in made.items()
        ]
        names = (f"{kind.replace('_', ' ')}: found" for kind in kinds)
        head = ("detector", "made in", "image AUROC", "AU-PRO", "false alarms", *names)
        return [
            element("h2", "Taught in seconds, or trained"),
            page.table(head, rows),
            page.soft(
                "A taught detector is made in seconds, also on the device, and needs few photos. "
                "Small, faint defects are what it misses: compare both on your own parts."
            ),
        ]

    def _pictures(self) -> list[Html]:
        with ExitStack() as stack:
            detect = stack.enter_context(EdgeDetector(self.artifact))
            other = (
                None if self.taught is None else stack.enter_context(EdgeDetector(self.taught[0]))
            )
            return self._rows(detect, other)

    def _rows(self, detect: EdgeDetector, taught: EdgeDetector | None) -> list[Html]:
        rows = []
        for kind, entries in _by_kind(self.evaluation).items():
            figures = []
            for entry in entries[:_PICTURES_EACH]:
                photo = images.read_image(entry["path"])
                found = [detector(photo) for detector in (detect, taught) if detector is not None]
                shown = [photo, *(detection.overlay(photo) for detection in found)]
                pictures = [page.picture(each, _PICTURE_WIDTH) for each in shown]
                names = ("trained: ", "taught: ") if len(found) > 1 else ("",)
                said = [
                    part
                    for name, detection in zip(names, found, strict=True)
                    for part in _verdict(name, detection, kind)
                ]
                figures.append(element("figure", *pictures, element("figcaption", *said)))
            rows.append(element("p", element("b", kind.replace("_", " "))))
            rows.append(element("div", *figures, class_="row"))
        return rows


def _verdict(name: str, detection: Detection, kind: str) -> list[str | Html]:
    verdict = "anomalous" if detection.is_anomalous else "good"
    wrong = detection.is_anomalous == (kind == GOOD)
    text = f"{verdict}{', wrong' if wrong else ''}"
    said = element("span", text, class_="bad" if wrong else "good")
    return [f"{name}score {detection.score:.3f}: ", said, " "]


def _found(evaluation: dict[str, Any]) -> str:
    """Say in one line what a detector found."""
    kinds = evaluation["by_defect"].items()
    return (
        f"image AUROC {evaluation['image_auroc']:.3f}, "
        f"{evaluation['false_positives']} false alarms, found "
        + ", ".join(
            f"{found['images'] - found['misses']} of {found['images']} {kind.replace('_', ' ')}"
            for kind, found in kinds
        )
    )


def _read(path: Path) -> dict[str, Any]:
    advice = "run the demo again in another folder"
    content: dict[str, Any] = strict_json.build(
        dict,
        strict_json.read(path, DataError, advice),
        strict_json.Source(str(path), DataError, advice),
    )
    return content


def _by_kind(evaluation: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {GOOD: []}
    for entry in evaluation["scores"]:
        kinds.setdefault(entry["kind"], []).append(entry)
    return kinds


def _score_strip(evaluation: dict[str, Any]) -> Html:
    """Draw a dot a photo, a row a kind, and the threshold as a line."""
    kinds = _by_kind(evaluation)
    threshold = evaluation["threshold"]
    scores = [entry["score"] for entry in evaluation["scores"]]
    # A few huge scores must not squeeze all others into the threshold's line.
    high = max(2.5 * threshold, sorted(scores)[int(0.9 * len(scores))])
    low = min(0.0, *scores)
    height = _STRIP_ROW * len(kinds) + 30

    def across(score: float) -> float:
        share = float((min(score, high) - low) / (high - low))
        return _STRIP_LABEL + share * (_STRIP_WIDTH - _STRIP_LABEL - 12)

    limit, end = f"{across(threshold):.1f}", _STRIP_WIDTH - 12
    dashed = {"stroke": page.INK_COLOUR, "stroke_dasharray": "4 3"}
    below = {"y": height - 6}
    parts = [
        element("line", x1=limit, x2=limit, y1=0, y2=height - 22, **dashed),
        element("text", f"threshold {threshold:.3f}", x=limit, text_anchor="middle", **below),
        element("text", f"score, cut at {high:.2f}", x=end, text_anchor="end", **below),
    ]
    for row, (kind, entries) in enumerate(kinds.items()):
        middle = _STRIP_ROW * row + _STRIP_ROW / 2
        colour = page.GOOD_COLOUR if kind == GOOD else page.BAD_COLOUR
        line = {"x1": _STRIP_LABEL, "x2": end, "y1": middle, "y2": middle}
        dot = {"cy": middle, "r": 5, "fill": colour, "fill_opacity": 0.6}
        parts.append(element("text", kind.replace("_", " "), x=0, y=middle + 4))
        parts.append(element("line", **line, stroke=page.LINE_COLOUR))
        parts += [element("circle", cx=f"{across(entry['score']):.1f}", **dot) for entry in entries]
    box = f"0 0 {_STRIP_WIDTH} {height}"
    return element("svg", *parts, viewBox=box, role="img", aria_label="scores by kind")


def _accuracy_table(evaluation: dict[str, Any]) -> Html:
    rows = [
        (
            kind.replace("_", " "),
            str(result["images"]),
            figure(result["image_auroc"], ".3f"),
            figure(result["pixel_auroc"], ".3f"),
            figure(result["au_pro"], ".3f"),
            str(result["misses"]),
        )
        for kind, result in evaluation["by_defect"].items()
    ]
    return page.table(("defect", "photos", "image AUROC", "pixel AUROC", "AU-PRO", "missed"), rows)


def _bench_table(bench: dict[str, Any]) -> Html:
    latency, stages = bench["latency_ms"], bench["stages_ms"]
    height, width = bench["frame_size"]
    runtime = bench["runtime"]
    rows = [
        ("whole frame, median", f"{latency['p50']:.1f} ms"),
        ("whole frame, 90th percentile", f"{latency['p90']:.1f} ms"),
        *(
            (f"{stage.replace('_', ' ')} (mean)", f"{value:.1f} ms")
            for stage, value in stages.items()
            if value is not None
        ),
    ]
    note = (
        f"{runtime['name']} {runtime['version']}, {runtime['threads']} threads, "
        f"{bench['device']['cpu']}; frames of {width}x{height} px, {bench['samples']} samples; "
        f"verdict {bench['verdict']}"
    )
    reasons = (element("p", reason, class_="bad") for reason in bench["invalid_because"])
    return joined(page.table(("stage", "time"), rows), page.soft(note), *reasons)


def _command_list(steps: Sequence[Step]) -> Html:
    rows = [(element("code", step.command), f"{step.seconds:.0f} s") for step in steps]
    return page.table(("command", "took"), rows)
