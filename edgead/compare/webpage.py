"""A comparison as one self-contained HTML page."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

from edgead import page
from edgead.compare import plot, tables
from edgead.compare.comparison import Comparison
from edgead.compare.results import HERE, LeftOut, Variant
from edgead.compare.survey import decision_tree

_STYLE = """
body { max-width: 1240px; }
.scroll { overflow-x: auto; } .scroll table { font-size: 14px; }
th, td { vertical-align: top; padding: 5px 16px 5px 0; } td small { display: block;
  color: var(--soft); }
.wide td, .wide th { text-align: left; } .best td { background: #eef6f1; font-weight: 600; }
.mark { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 7px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; max-width: none; color: var(--soft);
  font-size: 14px; } .legend svg { width: auto; vertical-align: -2px; margin-right: 6px; }
.maps { display: grid; gap: 10px 8px; margin: 12px 0; } .maps b { font-size: 14px; }
.verdict { border-left: 4px solid var(--good); padding: 2px 0 2px 16px; }
.verdict.none { border-color: var(--bad); } .verdict p:first-child { font-size: 19px; }
"""


def write(path: str | os.PathLike[str], comparison: Comparison, maps: str) -> None:
    """Write ``compare.html``.

    Args:
        path: The file.
        comparison: What to show.
        maps: HTML of the example maps.
    """
    body = "\n".join(
        (
            _head(comparison),
            *_plots(comparison),
            "<h2>The survey's table, measured on this data and machine</h2>",
            _survey_table(comparison),
            "<p class='soft'>Small print in a cell is what the survey claims for the method as "
            "published; whether its sources agree is in docs/survey.md. Latency is the median of "
            "whole frames, single-stream; all variants were timed in alternating rounds of one "
            "run.</p>",
            "<h2>Maps side by side</h2>",
            "<p class='soft'>Of each kind the typical and the hardest photo, by the detectors' "
            "mean ranking. Green outline: the marked defect. Colour starts at half a detector's "
            "own threshold and is full at twice of it; white outline: above the threshold.</p>",
            maps,
            "<h2>The survey's decision tree, answered by measurement</h2>",
            _tree(comparison),
            *_variants(comparison),
            _left_out("Not compared", comparison.left_out),
            _left_out("Not written or not run", comparison.refused),
            _remarks(comparison),
            "<h2>Again</h2>",
            f"<p><code>{html.escape(comparison.command)}</code></p>",
        )
    )
    page.write(path, "edgead compare", body, _STYLE)


def _head(comparison: Comparison) -> str:
    machine, counts = comparison.machine, comparison.photos
    name = html.escape(Path(comparison.data).resolve().name)
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    return (
        f"<h1>Detectors compared on {name}</h1>"
        f"<p class='soft'>{counts['train']} photos of good parts to learn from; tested on "
        f"{counts['good']} good and {counts['defective']} defective ones. "
        f"{html.escape(machine.cpu)}, {threads}.</p>"
        f"{_headline(comparison)}{_recommendation(comparison)}"
    )


def _headline(comparison: Comparison) -> str:
    shown = comparison.recommendation.chosen or comparison.recommendation.nearest
    if shown is None or shown.latency is None:
        return ""
    memory = "-" if shown.memory_mib is None else f"{shown.memory_mib:.0f} MiB"
    auroc = "-" if shown.image_auroc is None else f"{shown.image_auroc:.4f}"
    title = "recommended" if comparison.recommendation.chosen else "nearest to the limits"
    return page.headline(
        (
            (title, f"{html.escape(shown.detector)} {shown.precision.upper()}"),
            ("image AUROC", auroc),
            ("a frame, median", f"{shown.latency.p50:.1f} ms"),
            ("frames a second", f"{shown.latency.fps:.0f}"),
            ("peak memory", memory),
            ("file", f"{shown.size_bytes / 1e6:.1f} MB"),
        )
    )


def _recommendation(comparison: Comparison) -> str:
    found = comparison.recommendation
    limits = comparison.constraints
    if found.chosen is not None:
        head = f"Take <b>{html.escape(found.chosen.name)}</b>"
        if limits.device != HERE:
            head += f" on {html.escape(limits.device)}"
        head += f": <code>{html.escape(found.chosen.file)}</code>"
    else:
        head = "<b>No variant keeps every limit.</b>"
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in found.reasons)
    kind = "verdict" if found.chosen else "verdict none"
    doubts = "".join(
        f"<p class='bad'>Not to be relied on: {html.escape(doubt)}</p>"
        for doubt in comparison.doubts
    )
    block = f"<div class='{kind}'><p>{head}</p><ul>{reasons}</ul>{doubts}</div>"
    return f"<h2>Recommendation</h2>{block}"


def _plots(comparison: Comparison) -> list[str]:
    parts = []
    for device in comparison.devices:
        drawn = plot.accuracy_against_latency(comparison.variants, device)
        where = "" if device == HERE else f", on {html.escape(device)}"
        if drawn:
            parts += [f"<h2>Accuracy against latency{where}</h2>", drawn]
    return parts


def _survey_table(comparison: Comparison) -> str:
    colours = plot.detector_colours(comparison.variants)
    head = [
        f"<span class='mark' style='background:{colours.get(detector.label, '#999')}'></span>"
        f"{html.escape(detector.label)}"
        for detector in comparison.detectors
    ]
    rows = []
    for row in tables.survey_table(comparison):
        cells = []
        for cell in row.cells:
            claim = f"<small>survey: {html.escape(cell.claim)}</small>" if cell.claim else ""
            cells.append(html.escape(cell.measured) + claim)
        rows.append((html.escape(row.subject), *cells))
    return f"<div class='scroll wide'>{page.table(('', *head), rows)}</div>"


def _variants(comparison: Comparison) -> list[str]:
    parts = []
    for device in comparison.devices:
        where = "" if device == HERE else f", on {html.escape(device)}"
        parts.append(f"<h2>Every file in every runtime{where}</h2>")
        parts.append(_variant_table(comparison, device))
    return parts


def _variant_table(comparison: Comparison, device: str) -> str:
    chosen = comparison.recommendation.chosen
    lines = ["<tr>" + "".join(f"<th>{name}</th>" for name in tables.VARIANT_HEAD) + "</tr>"]
    marks: list[str] = []
    for variant, cells in tables.variant_table(comparison, device):
        kind = " class='best'" if variant is chosen else ""
        lines.append(
            f"<tr{kind}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        )
        marks += _footnotes(variant)
    notes = "".join(f"<li>{html.escape(mark)}</li>" for mark in dict.fromkeys(marks))
    return (
        f"<div class='scroll'><table>{''.join(lines)}</table></div>"
        "<p class='soft'>front: no other variant is faster and more accurate. Memory: peak of a "
        f"process that only predicts. ?: not to be relied on.</p><ul class='soft'>{notes}</ul>"
    )


def _footnotes(variant: Variant) -> list[str]:
    doubt = variant.latency.doubt if variant.latency is not None else None
    return [f"{variant.name}: {text}" for text in (doubt, variant.note) if text]


def _tree(comparison: Comparison) -> str:
    branches = decision_tree(
        comparison.variants, comparison.detectors, comparison.constraints.device
    )
    rows = [
        tuple(html.escape(text) for text in (branch.question, branch.survey, branch.measured))
        for branch in branches
    ]
    return f"<div class='wide'>{page.table(('question', 'survey', 'measured here'), rows)}</div>"


def _left_out(title: str, entries: Sequence[LeftOut]) -> str:
    if not entries:
        return ""
    rows = [(html.escape(entry.what), html.escape(entry.reason)) for entry in entries]
    table = page.table(("what", "why, and what to do"), rows)
    return f"<h2>{title}</h2><div class='wide'>{table}</div>"


def _remarks(comparison: Comparison) -> str:
    machine = comparison.machine
    height, width = machine.frame_size
    runtimes = ", ".join(f"{name} {version}" for name, version in machine.runtimes.items())
    remarks = [
        *comparison.remarks,
        *(f"{d.label}: {note}" for d in comparison.detectors for note in d.notes),
        f"runtimes: {runtimes}; frames of {width}x{height} px",
        *(f"{name} was not used: {why}" for name, why in machine.unavailable.items()),
    ]
    items = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks)
    return f"<h2>Remarks</h2><ul>{items}</ul>"
