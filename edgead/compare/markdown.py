"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from edgead.compare import tables
from edgead.compare.comparison import Comparison
from edgead.compare.results import HERE, LeftOut
from edgead.compare.survey import decision_tree
from edgead.markdown import bullets, plain
from edgead.markdown import table as markdown_table
from edgead.printable import printable


def document(comparison: Comparison) -> str:
    """Return ``compare.md``."""
    machine = comparison.machine
    height, width = machine.frame_size
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    runtimes = ", ".join(f"{name} {version}" for name, version in machine.runtimes.items())
    parts = [
        f"# Detectors compared on {plain(comparison.data)}",
        plain(
            f"{_photos(comparison)} Measured on {machine.cpu}, {threads}; {runtimes}; "
            f"frames of {width}x{height} px."
        ),
        "## Recommendation",
        recommendation(comparison),
        "## Comparison",
        survey_table(comparison),
        "Latency is the median of whole frames, single-stream; all variants were measured "
        "interleaved, in one run.",
    ]
    for device in comparison.devices:
        parts += [
            f"## Every file in every runtime{'' if device == HERE else f', on {plain(device)}'}",
            variant_table(comparison, device),
        ]
    doubts = [
        f"{v.name}: {v.latency.doubt}"
        for v in comparison.variants
        if v.latency is not None and v.latency.doubt
    ]
    if doubts:
        parts += ["`?`: the latency is not reliable.", bullets(doubts)]
    notes = [f"{v.name} on {v.device}: {v.note}" for v in comparison.variants if v.note]
    parts += [bullets(notes)] if notes else []
    tree = decision_tree(comparison.variants, comparison.detectors, comparison.constraints.device)
    parts += [
        "## Which detector?",
        markdown_table(
            ("question", "measured answer"),
            [(branch.question, branch.measured) for branch in tree],
        ),
    ]
    for title, entries in (
        ("Not compared", comparison.left_out),
        ("Not written or not measured", comparison.refused),
    ):
        if entries:
            parts += [f"## {title}", _left_out(entries)]
    details = [
        *comparison.remarks,
        *(f"{d.label}: {note}" for d in comparison.detectors for note in d.notes),
        *(f"{name} was not used: {why}" for name, why in machine.unavailable.items()),
    ]
    if details:
        parts += ["## Remarks", bullets(details)]
    parts += ["## Command", f"    {printable(comparison.command)}"]
    return "\n\n".join(parts) + "\n"


def recommendation(comparison: Comparison) -> str:
    """Return the recommended variant, or the nearest one, with the reasons as a list."""
    found = comparison.recommendation
    if found.chosen is not None:
        head = f"**{plain(found.chosen.name)}** ({plain(found.chosen.file)})."
    elif found.nearest is not None:
        head = f"**No variant is within every limit; the nearest is {plain(found.nearest.name)}.**"
    else:
        head = "**No variant.**"
    doubts = [f"not reliable: {doubt}" for doubt in comparison.doubts]
    return "\n".join([head, "", bullets([*found.reasons, *doubts])])


def survey_table(comparison: Comparison) -> str:
    """Return the table whose columns are detectors."""
    rows = [(row.subject, *row.cells) for row in tables.survey_table(comparison)]
    return markdown_table(("", *(detector.label for detector in comparison.detectors)), rows)


def variant_table(comparison: Comparison, device: str) -> str:
    """Return the table whose rows are variants."""
    rows = [cells for _, cells in tables.variant_table(comparison, device)]
    return markdown_table(tables.VARIANT_HEAD, rows)


def _photos(comparison: Comparison) -> str:
    counts = comparison.photos
    return (
        f"{counts['train']} training photos of good parts; test photos: {counts['good']} good "
        f"and {counts['defective']} defective."
    )


def _left_out(entries: Sequence[LeftOut]) -> str:
    return bullets([f"{entry.what}: {entry.reason}" for entry in entries])
