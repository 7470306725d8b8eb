"""Reading and writing the single files of a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgead import files, strict_json, tensor_files
from edgead.errors import TrainingError
from edgead.models import AnomalyModel
from edgead.strict_json import Source
from edgead.tensor_files import TensorFile
from edgead.training import _sealed_json

COPY = "copy the run folder again from where it was whole, or train again into a new folder"
"""What to do about a damaged file."""


def signed(content: Mapping[str, Any], run: str | None) -> dict[str, Any]:
    """Return what a JSON file of a run holds: the content, the run's number and a checksum."""
    return dict(content) if run is None else _sealed_json.sealed({**content, "run": run})


def read_object(path: Path, source: Source) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        EdgeadError: The file cannot be read, or is damaged.
    """
    data = strict_json.read(path, source.error, source.advice)
    if not isinstance(data, dict):
        source.fail("is damaged (not an object)")
    return data


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU that share no memory, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def read_tensors(path: Path, source: Source, sha256: str | None = None) -> TensorFile:
    """Read a file once, so that what is checked is what is used.

    Raises:
        EdgeadError: It cannot be read, is damaged, or has another SHA-256 than the one given.
    """
    try:
        data = files.read_regular(path)
    except OSError as error:
        raise source.error(f"cannot read {path}: {error.strerror}; {source.advice}") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        source.fail(
            "was changed or damaged, or is another run's (its sha256 is not the one in "
            "manifest.json beside it)"
        )
    try:
        return tensor_files.unpacked(data)
    except ValueError as error:
        source.fail(f"is damaged ({error})")


def load(model: AnomalyModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Load tensors into a detector.

    Raises:
        TrainingError: They are another network's.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise TrainingError(
            f"{path} does not hold the tensors of {model.name} ({_first_fault(error)}): {COPY}"
        ) from error


def is_finite(value: Tensor) -> bool:
    """Whether every value is a finite number."""
    try:
        return bool(torch.isfinite(value).all())
    except (RuntimeError, NotImplementedError):  # of a dtype that no network here has
        return False


def _first_fault(error: RuntimeError) -> str:
    """Return the first of the lines in which torch lists names and shapes."""
    lines = str(error).splitlines()
    return (lines[1] if len(lines) > 1 else lines[0]).strip()[:300]
