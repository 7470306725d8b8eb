"""The table of all cells that were measured, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgead.markdown import table
from studies.taught.cells import PRECISIONS

_METRICS = ("image_auroc", "pixel_auroc", "au_pro")
_HEADER = (
    "set",
    "detector",
    "photos",
    "draws",
    *(f"{m}, {p}" for p in ("FP32", "INT8") for m in ("image AUROC", "pixel AUROC", "AU-PRO")),
    "false alarms, FP32",
    "INT8 refused",
)


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return mean and range over the draws, one row a set, detector and number of photos."""
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for entry in found:
        count = float("inf") if entry["is_all"] else entry["photos"]
        groups.setdefault((entry["data_set"], entry["detector"], count), []).append(entry)
    rows = []
    for (data_set, detector, count), entries in sorted(groups.items()):
        by = {p: [e for e in entries if e["precision"] == p] for p in PRECISIONS}
        photos = sorted({e["photos"] for e in entries})
        shown = str(photos[0]) if len(photos) == 1 else f"{photos[0]} to {photos[-1]}"
        alarms = [e for e in by["fp32"] if e.get("good")]
        rate = sum(e["false_alarms"] for e in alarms) / max(sum(e["good"] for e in alarms), 1)
        rows.append(
            (
                data_set,
                detector,
                f"all ({shown})" if count == float("inf") else shown,
                str(len({e["draw"] for e in entries})),
                *(_spread([e.get(m) for e in by[p]]) for p in PRECISIONS for m in _METRICS),
                f"{100 * rate:.1f} %" if alarms else "-",
                str(sum(e.get("refused") is not None for e in by["int8"])),
            )
        )
    return table(_HEADER, rows)


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4f}"
    return f"{np.mean(known):.4f} ({min(known):.3f} to {max(known):.3f})"
