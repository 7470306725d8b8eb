"""Accuracy of every exported file in every runtime, kept on disk so that it is measured once."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files, strict_json
from edgead.artifact import Artifact
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.errors import DataError
from edgead.evaluation import evaluate
from edgead.strict_json import Source


@dataclass(frozen=True)
class Accuracy:
    """What ``edgead evaluate --json`` writes, of one artifact in one runtime.

    Attributes:
        figures: Its keys.
    """

    figures: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        """Return a figure, ``None`` where it does not apply."""
        return self.figures[key]

    @property
    def scores(self) -> dict[str, float]:
        """Score of every test photo by its path."""
        return {entry["path"]: float(entry["score"]) for entry in self.figures["scores"]}


def data_digest(dataset: Dataset) -> str:
    """Hash the labelled photos and their masks: labels, paths (figures name them), contents."""
    digest = hashlib.sha256()
    for photo in dataset.test:
        digest.update(os.fsencode(photo.kind) + b"\0")
        for path in (photo.path, *photo.masks):
            digest.update(os.fsencode(path) + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()


def measure(
    artifact: Artifact, runtime: str, dataset: Dataset, digest: str, threads: int | None, keep: Path
) -> Accuracy:
    """Score all labelled photos, or read the figures of an earlier comparison.

    Args:
        artifact: The exported file.
        runtime: Name of the runtime.
        dataset: With labelled photos.
        digest: Digest of the data, see :func:`data_digest`.
        threads: Threads of one inference.
        keep: Folder for the figures.

    Raises:
        EdgeadError: The runtime cannot open the file, or a photo cannot be read.
    """
    path = keep / f"{artifact.sha256[:16]}-{runtime}.json"
    with EdgeDetector(artifact.path, runtime, threads=threads) as detect:
        key = [artifact.sha256, detect.runtime.name, detect.runtime.version, digest]
        kept = _read(path)
        if kept is not None and kept["of"] == key:
            return Accuracy(kept["figures"])
        found = evaluate(detect, dataset).to_json()
    files.write_json(path, {"of": key, "figures": found})
    return Accuracy(found)


def empty_columns(dataset: Dataset) -> list[str]:
    """Say which columns this data leaves empty and what would fill them."""
    defective = [photo for photo in dataset.test if photo.is_anomalous]
    good = len(dataset.test) - len(defective)
    where = f"put labelled photos into {dataset.root / 'test'}/good and /<kind of defect>"
    if not defective:
        has = f"{good} test photos, all good" if good else "no labelled test photos"
        return [
            f"image AUROC, pixel AUROC and AU-PRO cannot be measured: {dataset.root} has {has}; "
            f"{where}"
        ]
    empty = []
    if not good:
        empty.append(
            f"image AUROC cannot be measured: {dataset.root / 'test'} has only defective photos; "
            f"{where}"
        )
    if not any(photo.masks for photo in defective):
        empty.append(
            "pixel AUROC and AU-PRO cannot be measured: no defective photo has a mask in "
            f"{dataset.root / 'ground_truth'}/<kind of defect>"
        )
    return empty


def standard_error(auroc: float, defective: int, good: int) -> float:
    """Estimate how far an AUROC may be off because the photos are few.

    Source: Hanley and McNeil, Radiology 143 (1982), 29-36, with their approximation of Q1 and Q2.
    """
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (
        auroc * (1 - auroc) + (defective - 1) * (q1 - auroc**2) + (good - 1) * (q2 - auroc**2)
    )
    return math.sqrt(max(variance, 0.0) / (defective * good))


def uncertainty(dataset: Dataset, aurocs: Sequence[float]) -> str | None:
    """Say in words how large a difference between image AUROCs has to be to mean something."""
    defective = sum(photo.is_anomalous for photo in dataset.test)
    good = len(dataset.test) - defective
    if not aurocs:
        return None
    # At 1 the formula gives 0, but no photos prove perfection: count half a photo as wrong.
    typical = min(sorted(aurocs)[len(aurocs) // 2], 1 - 0.5 / min(good, defective))
    error = standard_error(typical, defective, good)
    return (
        f"with {good} good and {defective} defective photos, an image AUROC near {typical:.3f} is "
        f"certain only to about ±{error:.3f} (one standard error): smaller differences between "
        "detectors are noise"
    )


@dataclass(frozen=True)
class _Score:
    path: str
    kind: str
    score: float
    is_anomalous: bool
    is_blank: bool


@dataclass(frozen=True)
class _Kind:
    images: int
    image_auroc: float | None
    pixel_auroc: float | None
    au_pro: float | None
    misses: int


@dataclass(frozen=True)
class _Figures:
    image_auroc: float | None
    image_ap: float | None
    image_f1: float | None
    pixel_auroc: float | None
    au_pro: float | None
    false_positives: int
    misses: int
    images: int
    threshold: float
    by_defect: dict[str, _Kind]
    scores: tuple[_Score, ...]


@dataclass(frozen=True)
class _Kept:
    of: tuple[str, ...]
    figures: _Figures


def _read(path: Path) -> dict[str, Any] | None:
    """Return what was kept; ``None`` where there is nothing, or it is damaged: measure again."""
    advice = "it is measured again"
    try:
        content: dict[str, Any] = strict_json.read(path, DataError, advice)
        strict_json.build(_Kept, content, Source(str(path), DataError, advice))
    except DataError:
        return None
    return content
