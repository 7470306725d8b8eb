"""The table: mean and spread over the seeds, by set and model, beside what others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgead.markdown import table
from studies.accuracy.cells import Cell
from studies.accuracy.protocols import MVTEC_AD_2, LabelledSet

OF_MVTEC_AD = frozenset(
    [
        "bottle",
        "cable",
        "capsule",
        "carpet",
        "grid",
        "hazelnut",
        "leather",
        "metal_nut",
        "pill",
        "screw",
        "tile",
        "toothbrush",
        "transistor",
        "wood",
        "zipper",
    ]
)
OF_VISA = frozenset(
    [
        "candle",
        "capsules",
        "cashew",
        "chewinggum",
        "fryum",
        "macaroni1",
        "macaroni2",
        "pcb1",
        "pcb2",
        "pcb3",
        "pcb4",
        "pipe_fryum",
    ]
)

PUBLISHED: dict[frozenset[str], tuple[tuple[str, float, float | None], ...]] = {
    OF_MVTEC_AD: (
        ("EfficientAd-S, Batzner et al. 2024, Table 2", 0.988, 0.931),
        ("EfficientAd-M, Batzner et al. 2024, Table 2", 0.991, 0.935),
        ("EfficientAd-S, nelson1425/EfficientAD", 0.9903, 0.9328),
    ),
    OF_VISA: (
        ("EfficientAd-S, Batzner et al. 2024, Table 2", 0.975, None),
        ("EfficientAd-M, Batzner et al. 2024, Table 2", 0.981, None),
    ),
}
"""Mean image AUROC and AU-PRO over all categories, by the categories."""

_METRICS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "au_pro": "AU-PRO",
    "au_pro_005": "AU-PRO 0.05",
    "false_alarm_rate": "false alarms",
}
_OF_MVTEC_AD_2 = "au_pro_005"


def notes(sets: Sequence[LabelledSet]) -> str:
    """Say of which part of a collection the figures are, where that is not all of it."""
    names = dict.fromkeys(s.collection or s.name for s in sets if s.layout == MVTEC_AD_2)
    if not names:
        return ""
    return (
        f"\n{', '.join(names)} (MVTec AD 2): figures of test_public, the only test photos with "
        "public labels. Published tables are of test_private and test_private_mixed, so none stand "
        "here. AU-PRO is up to a false positive rate of 0.3, AU-PRO 0.05 up to 0.05. "
        "validation/good is not used.\n"
    )


def tables(
    results: Mapping[Cell, dict[str, Any]], collections: Mapping[str, frozenset[str]]
) -> str:
    """Return mean and spread over the seeds, by set and model, as Markdown."""
    metrics = {
        key: name
        for key, name in _METRICS.items()
        if key != _OF_MVTEC_AD_2 or any(f.get(key) is not None for f in results.values())
    }
    rows: list[tuple[str, ...]] = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    wholes: dict[tuple[str, str], None] = {}
    for cell, found in results.items():
        groups.setdefault((cell.data_set, cell.model), []).append(found)
        collection = cell.data_set.partition("/")[0]
        if collection in collections:
            wholes[collection, cell.model] = None
    for (data_set, model), entries in groups.items():
        shown = [_spread([entry.get(key) for entry in entries]) for key in metrics]
        rows.append((data_set, model, str(len(entries)), *shown))
    for collection, model in wholes:
        rows += _mean_of(collection, model, results, collections[collection], list(metrics))
    return table(("set", "model", "runs", *metrics.values()), rows)


def _mean_of(
    collection: str,
    model: str,
    results: Mapping[Cell, dict[str, Any]],
    categories: frozenset[str],
    metrics: Sequence[str],
) -> list[tuple[str, ...]]:
    """Return a collection's mean over its categories, seed by seed, and what others published."""
    by_seed: dict[int | None, list[dict[str, Any]]] = {}
    for cell, found in results.items():
        if cell.model == model and cell.data_set.startswith(f"{collection}/"):
            by_seed.setdefault(cell.seed, []).append(found)
    whole = [entries for entries in by_seed.values() if len(entries) == len(categories)]
    if not whole:
        return [(f"{collection}, all", model, "not finished", *[""] * len(metrics))]
    shown = [
        _spread([_mean([entry.get(key) for entry in entries]) for entries in whole])
        for key in metrics
    ]
    rows = [(f"**{collection}, all**", model, str(len(whole)), *shown)]
    for source, auroc, overlap in PUBLISHED.get(categories, ()):
        known = {"image_auroc": auroc, "au_pro": overlap}
        values = [known.get(key) for key in metrics]
        rows.append(
            (
                f"{collection}, all",
                f"published: {source}",
                "",
                *("" if value is None else f"{value:.4g}" for value in values),
            )
        )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or ``None`` where a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4f}"
    return f"{np.mean(known):.4f} ± {np.std(known, ddof=1):.4f}"
