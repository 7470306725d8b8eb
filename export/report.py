"""``report.json`` and ``report.md``: every variant that an export tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files
from edgead.artifact import ParitySpec


@dataclass(frozen=True)
class Variant:
    """One candidate of an export.

    Attributes:
        name: Model and precision.
        file: File name in the export folder, or ``None`` where it was refused.
        precision: ``"fp32"`` and so on.
        gmac: Multiply-accumulates of one image, in billions.
        size_bytes: Of the file.
        latency_ms: Median inference here, in the same alternating run for all variants.
        runtime: What that was measured with.
        parity: Against what the export started from.
        image_auroc: On the labelled photos given, or ``None``.
        image_auroc_drop: Against the source, in points; ``None`` without labelled photos.
        accepted: Whether the file was put in place.
        reason: Why it was, or was not.
    """

    name: str
    file: str | None
    precision: str
    gmac: float
    size_bytes: int
    latency_ms: float | None
    runtime: str
    parity: ParitySpec
    image_auroc: float | None
    image_auroc_drop: float | None
    accepted: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on."""
        return {
            "name": self.name,
            "file": self.file,
            "precision": self.precision,
            "gmac": self.gmac,
            "size_bytes": self.size_bytes,
            "latency_ms": self.latency_ms,
            "runtime": self.runtime,
            "parity": {
                "max_score_diff": self.parity.max_score_diff,
                "max_score_diff_relative": self.parity.max_score_diff_relative,
                "max_map_diff": self.parity.max_map_diff,
                "label_flips": self.parity.label_flips,
                "images": self.parity.images,
            },
            "image_auroc": self.image_auroc,
            "image_auroc_drop": self.image_auroc_drop,
            "accepted": self.accepted,
            "reason": self.reason,
        }


def table(variants: list[Variant]) -> str:
    """Return the variants as a text table."""
    rows = [("variant", "MB", "ms", "score diff", "flips", "image AUROC", "verdict")]
    for variant in variants:
        auroc = "-" if variant.image_auroc is None else f"{variant.image_auroc:.4f}"
        if variant.image_auroc_drop is not None:
            auroc += f" ({-variant.image_auroc_drop:+.2f})"
        rows.append(
            (
                variant.name,
                f"{variant.size_bytes / 1e6:.2f}",
                "-" if variant.latency_ms is None else f"{variant.latency_ms:.2f}",
                f"{variant.parity.max_score_diff_relative:.1e}",
                f"{variant.parity.label_flips}/{variant.parity.images}",
                auroc,
                variant.reason if variant.accepted else f"refused: {variant.reason}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def write(folder: Path, variants: list[Variant], next_command: str) -> None:
    """Write ``report.json`` and ``report.md``."""
    files.write_json(
        folder / "report.json",
        {"variants": [variant.to_json() for variant in variants], "next": next_command},
    )
    text = (
        "# Export report\n\n"
        "`ms` is the median inference on this machine; all variants were measured in one "
        "alternating run. `score diff` is the largest difference of a score from what was "
        "exported, as a share of the score range, on held-out good photos and on synthetic "
        "defects of them.\n\n"
        f"```\n{table(variants)}\n```\n\nNext: `{next_command}`\n"
    )
    files.write_text(folder / "report.md", text)
