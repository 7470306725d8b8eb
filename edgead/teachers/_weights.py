"""Weights files of any of the formats in use, read safely."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgead import files, tensor_files
from edgead.artifact.specs import TeacherSpec
from edgead.errors import EdgeadError
from edgead.printable import printable

RANDOM = "random"
"""In place of a file: untrained weights, for experiments."""


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        path: The file.
        tensors: By name.
        metadata: Metadata of a safetensors file; empty for others.
        sha256: Of the bytes that the tensors were read from.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str


def random_weights(name: str, network: nn.Module) -> TeacherSpec:
    """Describe a network that :data:`RANDOM` leaves untrained.

    Args:
        name: Of the architecture.
        network: With its weights.
    """
    return TeacherSpec(
        name=f"{name} with random weights",
        source="random weights, not pretrained: for experiments only",
        licence="none needed",
        sha256=weights_digest(network),
    )


def read_file(path: Path, what: str) -> bytes:
    """Read a file of weights.

    Args:
        path: A regular file.
        what: What the file is, for errors.

    Raises:
        EdgeadError: It cannot be read.
    """
    try:
        return files.read_regular(path)
    except OSError as error:
        raise EdgeadError(f"cannot read the {what} {path}: {error.strerror}") from error


def parsed(data: bytes, path: Path, what: str) -> Weights:
    """Take the tensors out of a file of weights without running anything that is in it.

    Args:
        data: The file: safetensors, or what ``torch.save`` wrote; a checkpoint's ``state_dict`` or
            ``model`` entry is taken.
        path: Its name, whose ending tells the two apart.
        what: What the file is, for errors.

    Raises:
        EdgeadError: The file is damaged, unsafe to load, or holds something else.
    """
    if path.suffix.lower() == ".safetensors":
        try:
            file = tensor_files.unpacked(data)
        except ValueError as error:
            raise EdgeadError(
                f"the {what} {path} is damaged or not a safetensors file: {error}"
            ) from error
        tensors, metadata = file.tensors, file.metadata
    else:
        tensors, metadata = _of_torch(data, path, what), {}
    broken = next((name for name, value in tensors.items() if not _is_finite(value)), None)
    if broken is not None:
        raise EdgeadError(
            f"the {what} {path} is damaged: '{broken[:80]}' holds values that are not finite "
            "numbers; fetch it again"
        )
    return Weights(path, tensors, metadata, hashlib.sha256(data).hexdigest())


def _of_torch(data: bytes, path: Path, what: str) -> dict[str, Tensor]:
    try:
        loaded: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EdgeadError(
            f"the {what} {path} is not a plain state dict (tensors by name): it is no PyTorch "
            "file, or one that runs code when it is loaded, which is refused; save "
            "model.state_dict() and use that"
        ) from error
    except Exception as error:  # torch raises nearly any of them on damaged bytes
        raise EdgeadError(f"the {what} {path} is damaged or not a PyTorch file") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise EdgeadError(f"the {what} {path} does not hold a state dict of tensors")
    return loaded


def _is_finite(value: Tensor) -> bool:
    try:
        return bool(torch.isfinite(value).all())
    except (RuntimeError, NotImplementedError):  # of a layout or type that no network here has
        return False


def described(weights: Weights) -> TeacherSpec:
    """Return what a teacher's file says of itself: ``edgead distill-teacher`` writes all of it."""
    stated, name = weights.metadata, printable(weights.path.name)
    return TeacherSpec(
        name=stated.get("name", name),
        source=stated.get("source", f"file {name}"),
        licence=stated.get("licence", "not stated in the file: ask the author of the file"),
        sha256=weights.sha256,
        **{key: stated.get(key) for key in ("images", "recipe", "validation", "date")},
    )


def weights_digest(network: nn.Module) -> str:
    """Hash a network's names and values, where there is no file to hash."""
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
