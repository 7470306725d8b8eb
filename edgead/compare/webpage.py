"""A comparison as one self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgead import page
from edgead.compare import plot, tables
from edgead.compare.comparison import Comparison
from edgead.compare.results import HERE, LeftOut, Variant
from edgead.compare.survey import decision_tree
from edgead.markup import Html, element, joined

_STYLE = """
body { max-width: 1240px; }
.scroll { overflow-x: auto; } .scroll table { font-size: 14px; }
th, td { vertical-align: top; padding: 5px 16px 5px 0; }
.wide td, .wide th { text-align: left; } .best td { background: #eef6f1; font-weight: 600; }
.mark { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 7px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; max-width: none; color: var(--soft);
  font-size: 14px; } .legend svg { width: auto; vertical-align: -2px; margin-right: 6px; }
.maps { display: grid; gap: 10px 8px; margin: 12px 0; } .maps b { font-size: 14px; }
.verdict { border-left: 4px solid var(--good); padding: 2px 0 2px 16px; }
.verdict.none { border-color: var(--bad); } .verdict p:first-child { font-size: 19px; }
"""


def write(path: str | os.PathLike[str], comparison: Comparison, maps: Html) -> None:
    """Write ``compare.html``.

    Args:
        path: The file.
        comparison: What to show.
        maps: The example maps.
    """
    body = page.lines(
        _head(comparison),
        *_plots(comparison),
        element("h2", "Comparison"),
        _survey_table(comparison),
        page.soft(
            "Latency is the median of whole frames, single-stream; all variants were measured "
            "interleaved, in one run."
        ),
        element("h2", "Maps side by side"),
        page.soft(
            "The typical and the hardest photo of each kind, by the mean ranking of the detectors. "
            "Green outline: the marked defect. Colour starts at half the detector's threshold and "
            "is full at twice the threshold; white outline: above the threshold."
        ),
        maps,
        element("h2", "Which detector?"),
        _tree(comparison),
        *_variants(comparison),
        _left_out("Not compared", comparison.left_out),
        _left_out("Not written or not measured", comparison.refused),
        _remarks(comparison),
        element("h2", "Command"),
        element("p", element("code", comparison.command)),
    )
    page.write(path, "edgead compare", body, _STYLE)


def _head(comparison: Comparison) -> Html:
    machine, counts = comparison.machine, comparison.photos
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    return joined(
        element("h1", f"Detectors compared on {Path(comparison.data).resolve().name}"),
        page.soft(
            f"{counts['train']} training photos of good parts; test photos: {counts['good']} "
            f"good and {counts['defective']} defective. {machine.cpu}, {threads}."
        ),
        _headline(comparison),
        _recommendation(comparison),
    )


def _headline(comparison: Comparison) -> Html:
    shown = comparison.recommendation.chosen or comparison.recommendation.nearest
    if shown is None or shown.latency is None:
        return Html()
    memory = "-" if shown.memory_mib is None else f"{shown.memory_mib:.0f} MiB"
    auroc = "-" if shown.image_auroc is None else f"{shown.image_auroc:.4f}"
    title = "recommended" if comparison.recommendation.chosen else "nearest to the limits"
    return page.headline(
        (
            (title, f"{shown.detector} {shown.precision.upper()}"),
            ("image AUROC", auroc),
            ("latency of a frame, median", f"{shown.latency.p50:.1f} ms"),
            ("frames per second", f"{shown.latency.fps:.0f}"),
            ("peak memory", memory),
            ("file", f"{shown.size_bytes / 1e6:.1f} MB"),
        )
    )


def _recommendation(comparison: Comparison) -> Html:
    found = comparison.recommendation
    limits = comparison.constraints
    if found.chosen is not None:
        on = f" on {limits.device}" if limits.device != HERE else ""
        head = joined(
            "Take ",
            element("b", found.chosen.name),
            f"{on}: ",
            element("code", found.chosen.file),
        )
    else:
        head = element("b", "No variant is within every limit.")
    doubts = (element("p", f"Not reliable: {doubt}", class_="bad") for doubt in comparison.doubts)
    block = element(
        "div",
        element("p", head),
        _list(found.reasons),
        *doubts,
        class_="verdict" if found.chosen else "verdict none",
    )
    return joined(element("h2", "Recommendation"), block)


def _list(entries: Sequence[str], kind: str | None = None) -> Html:
    return element("ul", *(element("li", entry) for entry in entries), class_=kind)


def _plots(comparison: Comparison) -> list[Html]:
    parts = []
    for device in comparison.devices:
        drawn = plot.accuracy_against_latency(comparison.variants, device)
        where = "" if device == HERE else f", on {device}"
        if drawn:
            parts += [element("h2", f"Accuracy against latency{where}"), drawn]
    return parts


def _survey_table(comparison: Comparison) -> Html:
    colours = plot.detector_colours(comparison.variants)
    head = []
    for detector in comparison.detectors:
        colour = f"background:{colours.get(detector.label, '#999')}"
        head.append(joined(element("span", class_="mark", style=colour), detector.label))
    rows = [(row.subject, *row.cells) for row in tables.survey_table(comparison)]
    return element("div", page.table(("", *head), rows), class_="scroll wide")


def _variants(comparison: Comparison) -> list[Html]:
    parts = []
    for device in comparison.devices:
        where = "" if device == HERE else f", on {device}"
        parts.append(element("h2", f"Every file in every runtime{where}"))
        parts.append(_variant_table(comparison, device))
    return parts


def _variant_table(comparison: Comparison, device: str) -> Html:
    chosen = comparison.recommendation.chosen
    lines = [element("tr", *(element("th", name) for name in tables.VARIANT_HEAD))]
    marks: list[str] = []
    for variant, cells in tables.variant_table(comparison, device):
        kind = "best" if variant is chosen else None
        lines.append(element("tr", *(element("td", cell) for cell in cells), class_=kind))
        marks += _footnotes(variant)
    return joined(
        element("div", element("table", *lines), class_="scroll"),
        page.soft(
            "front: no other variant is both faster and more accurate. Memory: peak of a process "
            "that only predicts. ?: the latency is not reliable."
        ),
        _list(list(dict.fromkeys(marks)), "soft"),
    )


def _footnotes(variant: Variant) -> list[str]:
    doubt = variant.latency.doubt if variant.latency is not None else None
    return [f"{variant.name}: {text}" for text in (doubt, variant.note) if text]


def _tree(comparison: Comparison) -> Html:
    branches = decision_tree(
        comparison.variants, comparison.detectors, comparison.constraints.device
    )
    rows = [(branch.question, branch.measured) for branch in branches]
    return element("div", page.table(("question", "measured answer"), rows), class_="wide")


def _left_out(title: str, entries: Sequence[LeftOut]) -> Html:
    if not entries:
        return Html()
    rows = [(entry.what, entry.reason) for entry in entries]
    table = page.table(("what", "reason and next step"), rows)
    return joined(element("h2", title), element("div", table, class_="wide"))


def _remarks(comparison: Comparison) -> Html:
    machine = comparison.machine
    height, width = machine.frame_size
    runtimes = ", ".join(f"{name} {version}" for name, version in machine.runtimes.items())
    remarks = [
        *comparison.remarks,
        *(f"{d.label}: {note}" for d in comparison.detectors for note in d.notes),
        f"runtimes: {runtimes}; frames of {width}x{height} px",
        *(f"{name} was not used: {why}" for name, why in machine.unavailable.items()),
    ]
    return joined(element("h2", "Remarks"), _list(remarks))
