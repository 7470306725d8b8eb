"""Weights of a ResNet trunk out of a file that a user has, without torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from edgead import files
from edgead.artifact.specs import TeacherSpec
from edgead.backbones import legacy_torch, onnx_resnet, safetensors
from edgead.errors import EdgeadError, UsageError
from edgead.printable import printable

_PREFIXES = ("module.", "model.", "backbone.", "encoder.", "teacher.")


def load(path: str | os.PathLike[str], name: str) -> tuple[safetensors.Arrays, TeacherSpec]:
    """Read a weights file.

    Args:
        path: Safetensors, or a state dict of ``torch.save`` in its old or its zip format, with
            torchvision's or timm's names.
        name: Of the architecture, in :data:`edgead.backbones.resnet.ARCHITECTURES`.

    Returns:
        The arrays that the trunk is made of, and what is known about them.

    Raises:
        UsageError: There is no such file.
        EdgeadError: It cannot be read, is damaged, or is not of this architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"the weights file {path} does not exist")
    try:
        data = files.read_regular(path, legacy_torch.MOST_BYTES)
    except OSError as error:
        raise EdgeadError(f"cannot read {path}: {error.strerror}") from error
    try:
        found = _tensors(data)
    except ValueError as error:  # NotTensorsError is one
        raise EdgeadError(
            f"{path} is no weights file that can be read here: {error}; give safetensors, or a "
            "state dict of torch.save"
        ) from error
    spec = TeacherSpec(
        name=name,
        source=f"the weights file {printable(path.name)}",
        licence="that of the weights file, which edgead does not know: check whether your use is "
        "covered",
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return _of_architecture(found, path, name), spec


def _tensors(data: bytes) -> safetensors.Arrays:
    if data[:4] == b"PK\x03\x04":
        read = legacy_torch.read_zip(data)
    elif data[:1] == b"\x80":
        read = legacy_torch.read(data)
    else:
        return safetensors.unpacked(data)
    return {
        name: values.astype(np.float32) for name, values in read.items() if values.dtype.kind == "f"
    }


def _of_architecture(found: safetensors.Arrays, path: Path, name: str) -> safetensors.Arrays:
    prefix = next((p for p in _PREFIXES if f"{p}conv1.weight" in found), "")
    arrays: safetensors.Arrays = {}
    for key, shape in onnx_resnet.shapes(name).items():
        values = found.get(prefix + key)
        if values is None:
            raise EdgeadError(f"{path} is not a {name}: it has no {key}")
        if values.shape != shape:
            raise EdgeadError(
                f"{path} is not a {name}: {key} has the shape {values.shape}, expected {shape}"
            )
        if not np.isfinite(values).all():
            raise EdgeadError(f"{path} is damaged: {key} has a value that is not a finite number")
        arrays[key] = values
    return arrays
