"""Loading patch-description teachers from our files and from the public ones."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgead.artifact.manifest import TeacherSpec
from edgead.errors import EdgeadError, UsageError
from edgead.files import sha256_file
from edgead.models._pdn import PDN

SHIPPED = {"n": "efficientad_n.safetensors"}
"""Teachers inside this package, by size."""


def load_pdn_teacher(network: PDN, size: str, source: str | None) -> TeacherSpec:
    """Load weights into a teacher.

    Args:
        network: The teacher to fill.
        size: ``"n"``, ``"s"`` or ``"m"``.
        source: A file (``.safetensors`` of ``edgead distill-teacher``, or a ``.pth``/``.pt`` state
            dict with the keys of nelson1425/EfficientAD or of anomalib), or ``None`` for the
            teacher in this package.

    Returns:
        What the teacher is and under which licence.

    Raises:
        UsageError: No teacher of that size is shipped, or the file does not exist.
        EdgeadError: The file is damaged, unsafe to load, or of another architecture.
    """
    if source is None:
        if size not in SHIPPED:
            raise UsageError(
                f"no teacher for efficientad-{size} comes with this package: give one with "
                "--teacher FILE (a published PDN teacher, for example nelson1425/EfficientAD's "
                f"teacher_{'small' if size == 's' else 'medium'}.pth), or make one with "
                f"'edgead distill-teacher --model efficientad-{size}', or use efficientad-n"
            )
        path = Path(__file__).with_name(SHIPPED[size])
    else:
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"the teacher file {path} does not exist")
    state, metadata = _read(path)
    network.load_state_dict(_matched(state, network, path, size))
    return TeacherSpec(
        name=metadata.get("name", path.name),
        source=metadata.get("source", f"file {path.name}"),
        licence=metadata.get("licence", "not stated in the file: ask whoever gave it to you"),
        sha256=sha256_file(path),
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "pt") as file:
                return {
                    key: file.get_tensor(key) for key in list(file.keys())
                }, file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise EdgeadError(
                f"the teacher file {path} is damaged or not a safetensors file: {error}"
            ) from error
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EdgeadError(
            f"the teacher file {path} is not a plain state dict (tensors by name), and files that "
            "run code when they are loaded are refused: save model.state_dict() and use that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise EdgeadError(f"the teacher file {path} is damaged or not a PyTorch file") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise EdgeadError(f"the teacher file {path} does not hold a state dict of tensors")
    return loaded, {}


def _matched(state: dict[str, Tensor], network: PDN, path: Path, size: str) -> dict[str, Tensor]:
    """Rename foreign keys by order: a PDN is a chain, and every layout lists it first to last."""
    found = sorted(state, key=_natural)
    expected = network.state_dict()
    names = sorted(expected, key=_natural)
    shapes = [tuple(state[key].shape) for key in found]
    wanted = [tuple(expected[name].shape) for name in names]
    if shapes != wanted:
        convolutions = [shape for shape in shapes if len(shape) == 4]
        raise EdgeadError(
            f"the teacher file {path} does not fit efficientad-{size}: its convolutions are "
            f"{_described(convolutions)}, but the teacher's are "
            f"{_described([shape for shape in wanted if len(shape) == 4])}"
        )
    return {name: state[key].float() for name, key in zip(names, found, strict=True)}


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _described(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "none"
