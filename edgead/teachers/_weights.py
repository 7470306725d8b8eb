"""Weights files of any of the formats in use, read safely."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgead.artifact.specs import TeacherSpec
from edgead.errors import EdgeadError
from edgead.files import sha256_file

RANDOM = "random"
"""In place of a file: untrained weights, for experiments."""


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of named tensors without running anything that is in it.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote; a checkpoint's ``state_dict`` or
            ``model`` entry is taken.
        what: What the file is, for errors.

    Returns:
        Tensors by name, and the metadata of a safetensors file.

    Raises:
        EdgeadError: The file is damaged, unsafe to load, or holds something else.
    """
    if path.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "pt") as file:
                return {
                    key: file.get_tensor(key) for key in list(file.keys())
                }, file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise EdgeadError(
                f"the {what} {path} is damaged or not a safetensors file: {error}"
            ) from error
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EdgeadError(
            f"the {what} {path} is not a plain state dict (tensors by name): it is no PyTorch "
            "file, or one that runs code when it is loaded, which is refused; save "
            "model.state_dict() and use that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise EdgeadError(f"the {what} {path} is damaged or not a PyTorch file") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise EdgeadError(f"the {what} {path} does not hold a state dict of tensors")
    return loaded, {}


def described(path: Path, metadata: Mapping[str, str]) -> TeacherSpec:
    """Return what a teacher's file says of itself: ``edgead distill-teacher`` writes all of it."""
    return TeacherSpec(
        name=metadata.get("name", path.name),
        source=metadata.get("source", f"file {path.name}"),
        licence=metadata.get("licence", "not stated in the file: ask whoever gave it to you"),
        sha256=sha256_file(path),
        **{key: metadata.get(key) for key in ("images", "recipe", "validation", "date")},
    )


def weights_digest(network: nn.Module) -> str:
    """Hash a network's names and values, where there is no file to hash."""
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
