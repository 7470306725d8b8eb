"""An export reads each photo once, however many files it makes of the detector.

Files of the same size are hashed besides, to find copies of test photos.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edgead import images
from edgead.datasets import Dataset
from edgead.export import ExportOptions, export, gate


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[Path]], dict[str, int]]:
    """Count how often photos are read from now on."""
    found: Counter[str] = Counter()
    real = images.read_bytes

    def read_bytes(path: str | os.PathLike[str], max_megapixels: float | None = None) -> bytes:
        found[os.fspath(path)] += 1
        return real(path, max_megapixels)

    monkeypatch.setattr(images, "read_bytes", read_bytes)
    return lambda photos: {str(path): found[str(path)] for path in photos}


def test_of_an_artifact_with_labelled_photos(
    exported: Path,
    shared_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reads: Callable[[Iterable[Path]], dict[str, int]],
) -> None:
    monkeypatch.setattr(gate, "RANK_CORRELATION", 0.0)
    good = shared_dataset / "train/good"
    photos = [*good.iterdir(), *(photo.path for photo in Dataset.from_folder(shared_dataset).test)]
    options = ExportOptions(
        fp16=True,
        int8="dynamic",
        calibration=str(good),
        validate=str(shared_dataset),
        max_drop=100,
    )
    files = export(exported, tmp_path, options)
    assert sum(entry.accepted for entry in files) == 3
    assert set(reads(photos).values()) == {1}, reads(photos)


def test_of_a_run_with_few_validation_photos(
    trained_run: Path,
    shared_dataset: Path,
    tmp_path: Path,
    reads: Callable[[Iterable[Path]], dict[str, int]],
) -> None:
    """Photos that were learned from are compared, too."""
    export(trained_run, tmp_path)
    photos = list((shared_dataset / "train/good").iterdir())
    assert set(reads(photos).values()) == {1}, reads(photos)
