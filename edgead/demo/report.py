"""One self-contained HTML page about the demo: figures, scores, pictures, commands."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import images, page
from edgead.datasets import GOOD
from edgead.detector import EdgeDetector
from edgead.markdown import figure

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
    """What the page is made of; the three files are those that the commands wrote.

    Attributes:
        artifact: The exported file.
        evaluation: ``edgead evaluate --json``.
        export: ``report.json`` of the export.
        bench: ``edgead bench --json``.
        steps: The commands, in order.
    """

    artifact: Path
    evaluation: dict[str, Any]
    export: dict[str, Any]
    bench: dict[str, Any]
    steps: tuple[Step, ...]

    @classmethod
    def from_folder(cls, folder: Path, artifact: Path, steps: Sequence[Step]) -> DemoReport:
        """Read what the demo's commands left in its folder."""
        return cls(
            artifact,
            _read(folder / "evaluation.json"),
            _read(artifact.with_name("report.json")),
            _read(folder / "bench.json"),
            tuple(steps),
        )

    def write(self, path: Path) -> None:
        """Draw the pictures and write the page."""
        body = "\n".join(
            (
                self._head(),
                "<h2>Every test photo's score</h2>",
                _score_strip(self.evaluation),
                "<h2>What the device sees</h2>",
                "<p class='soft'>Photo above, the detector's heat map below. White outlines are "
                "the regions above the threshold.</p>",
                *self._pictures(),
                "<h2>Accuracy by defect</h2>",
                _accuracy_table(self.evaluation),
                "<h2>Speed and memory on this machine</h2>",
                _bench_table(self.bench),
                "<h2>The commands</h2>",
                _command_list(self.steps),
            )
        )
        page.write(path, "edgead demo", body)

    def _head(self) -> str:
        errors = self.evaluation["misses"] + self.evaluation["false_positives"]
        parity = self.export["variants"][0]["parity"]
        figures = (
            ("image AUROC", f"{self.evaluation['image_auroc']:.3f}"),
            ("AU-PRO", f"{self.evaluation['au_pro']:.3f}"),
            ("wrong verdicts", f"{errors} of {self.evaluation['images']}"),
            ("frames a second", f"{self.bench['fps']:.0f}"),
            ("file to copy", f"{self.artifact.stat().st_size / 1e6:.1f} MB"),
            ("memory", f"{self.bench['peak_rss_mib']:.0f} MiB"),
        )
        return (
            "<h1>edgead demo: turned flanges on a belt</h1>"
            "<p>Rendered photos; everything else is what the commands below measured on this "
            "machine. The detector saw good parts only.</p>"
            f"{page.headline(figures)}"
            f"<p class='soft'>Scores of the exported file and of PyTorch differ by "
            f"{parity['max_score_diff_relative']:.0e} of the score range on {parity['images']} "
            f"photos; {parity['label_flips']} verdicts change.</p>"
        )

    def _pictures(self) -> list[str]:
        rows = []
        with EdgeDetector(self.artifact) as detect:
            for kind, entries in _by_kind(self.evaluation).items():
                figures = []
                for entry in entries[:_PICTURES_EACH]:
                    photo = images.read_image(entry["path"])
                    detection = detect(photo)
                    verdict = "anomalous" if detection.is_anomalous else "good"
                    wrong = detection.is_anomalous == (kind == GOOD)
                    pictures = "".join(
                        page.picture(shown, _PICTURE_WIDTH)
                        for shown in (photo, detection.overlay(photo))
                    )
                    figures.append(
                        f"<figure>{pictures}<figcaption>"
                        f"score {detection.score:.3f}: <span class='{'bad' if wrong else 'good'}'>"
                        f"{verdict}{', wrong' if wrong else ''}</span></figcaption></figure>"
                    )
                rows.append(
                    f"<p><b>{html.escape(kind.replace('_', ' '))}</b></p>"
                    f"<div class='row'>{''.join(figures)}</div>"
                )
        return rows


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _by_kind(evaluation: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {GOOD: []}
    for entry in evaluation["scores"]:
        kinds.setdefault(entry["kind"], []).append(entry)
    return kinds


def _score_strip(evaluation: dict[str, Any]) -> str:
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

    parts = [
        f"<svg viewBox='0 0 {_STRIP_WIDTH} {height}' role='img' aria-label='scores by kind'>",
        f"<line x1='{across(threshold):.1f}' x2='{across(threshold):.1f}' y1='0' "
        f"y2='{height - 22}' stroke='{page.INK_COLOUR}' stroke-dasharray='4 3'/>",
        f"<text x='{across(threshold):.1f}' y='{height - 6}' text-anchor='middle'>"
        f"threshold {threshold:.3f}</text>",
        f"<text x='{_STRIP_WIDTH - 12}' y='{height - 6}' text-anchor='end'>"
        f"score, cut at {high:.2f}</text>",
    ]
    for row, (kind, entries) in enumerate(kinds.items()):
        middle = _STRIP_ROW * row + _STRIP_ROW / 2
        colour = page.GOOD_COLOUR if kind == GOOD else page.BAD_COLOUR
        parts.append(f"<text x='0' y='{middle + 4}'>{html.escape(kind.replace('_', ' '))}</text>")
        parts.append(
            f"<line x1='{_STRIP_LABEL}' x2='{_STRIP_WIDTH - 12}' y1='{middle}' y2='{middle}' "
            f"stroke='{page.LINE_COLOUR}'/>"
        )
        parts += [
            f"<circle cx='{across(entry['score']):.1f}' cy='{middle}' r='5' fill='{colour}' "
            "fill-opacity='0.6'/>"
            for entry in entries
        ]
    return "".join(parts) + "</svg>"


def _accuracy_table(evaluation: dict[str, Any]) -> str:
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


def _bench_table(bench: dict[str, Any]) -> str:
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
    reasons = "".join(f"<p class='bad'>{html.escape(r)}</p>" for r in bench["invalid_because"])
    return (
        page.table(("stage", "time"), rows) + f"<p class='soft'>{html.escape(note)}</p>" + reasons
    )


def _command_list(steps: Sequence[Step]) -> str:
    rows = [
        (f"<code>{html.escape(step.command)}</code>", f"{step.seconds:.0f} s") for step in steps
    ]
    return page.table(("command", "took"), rows)
