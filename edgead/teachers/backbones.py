"""Pretrained ResNets: a file, PyTorch's published ones, or, if asked for, random ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from torch import Tensor

from edgead.artifact.specs import TeacherSpec
from edgead.errors import EdgeadError, UsageError
from edgead.networks.resnet import ARCHITECTURES, LEVELS, Trunk
from edgead.teachers._download import Published, fetch
from edgead.teachers._weights import (
    RANDOM,
    Weights,
    described,
    parsed,
    random_weights,
    read_file,
)
from edgead.teachers.removed import DISTILLED, GONE, INSTEAD

DOWNLOADS = "https://download.pytorch.org/models/"
_PREFIXES = ("module.", "model.", "backbone.", "encoder.", "teacher.")
_UNUSED = ("layer4.", "fc.", "avgpool.")

_WHAT = "weights file"

_OPTION = "--teacher FILE (edgead compare: --teacher MODEL=FILE)"

PUBLISHED = {  # torchvision's IMAGENET1K_V1; the digits in a name begin its hash
    "resnet18": Published(
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        46_830_571,
    ),
    "wide_resnet50_2": Published(
        "wide_resnet50_2-95faca4d.pth",
        "95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
        138_223_492,
    ),
}


def load_backbone(network: Trunk, source: str | None) -> TeacherSpec:
    """Load pretrained weights into a ResNet trunk.

    Args:
        network: The trunk to fill.
        source: A file (torchvision's ``.pth``, a timm checkpoint, or safetensors with the same
            names), ``"random"``, or ``None`` for torchvision's ImageNet weights: from the cache
            folder, or downloaded to it.

    Returns:
        What the weights are and under which licence.

    Raises:
        UsageError: The file does not exist, or is the one that the package no longer has.
        EdgeadError: The file is damaged, unsafe to load or of another architecture, or nothing can
            be downloaded here; says where to put the file.
    """
    if source == RANDOM:
        return random_weights(network.architecture, network)
    if source == DISTILLED:
        raise UsageError(f"{GONE}: {INSTEAD} with {_OPTION}")
    if source is None:
        path, data = fetch(
            DOWNLOADS,
            PUBLISHED[network.architecture],
            f"the ImageNet weights of {network.architecture}",
            _OPTION,
        )
    else:
        path = Path(source)
        if not path.is_file():
            raise UsageError(
                f"the weights file {path} does not exist; leave it out for torchvision's ImageNet "
                f"weights, or write '{RANDOM}' for untrained ones"
            )
        data = read_file(path, _WHAT)
    weights = _checked(data, path, _WHAT)
    network.load_state_dict(_matched(weights.tensors, network, path))
    published = PUBLISHED[network.architecture]
    if weights.sha256 == published.sha256:
        return TeacherSpec(
            name=f"{network.architecture}, ImageNet-1k",
            source=f"torchvision, {published.file}",
            licence="torchvision is BSD-3-Clause; ImageNet's photos are for research only",
            sha256=weights.sha256,
        )
    return described(weights)


def load_wide_resnet(path: Path) -> Trunk:
    """Build the WideResNet-101-2 or WideResNet-50-2 that a file holds.

    Args:
        path: Weights with torchvision's or timm's names.

    Raises:
        EdgeadError: The file is damaged, unsafe to load or of another network.
    """
    what = "source network"
    state = _checked(read_file(path, what), path, what).tensors
    deep = any(_bare(name).startswith("layer3.22.") for name in state)
    network = Trunk("wide_resnet101_2" if deep else "wide_resnet50_2")
    network.load_state_dict(_matched(state, network, path))
    return network


def _checked(data: bytes, path: Path, what: str) -> Weights:
    """Take the weights out of a file, once its name has been found to fit it."""
    _check_name(path, what, hashlib.sha256(data).hexdigest())
    return parsed(data, path, what)


def _check_name(path: Path, what: str, sha256: str) -> None:
    """Refuse a file whose name carries another hash, as torchvision's and timm's names do."""
    stated = re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    if stated and not sha256.startswith(stated[1]):
        raise EdgeadError(
            f"the {what} {path} is truncated or was changed: its name says that its sha256 "
            f"begins with {stated[1]}, but it is {sha256[:8]}...; fetch it again, or rename it if "
            "that is no checksum"
        )


def _matched(state: dict[str, Tensor], network: Trunk, path: Path) -> dict[str, Tensor]:
    """Pick the trunk's tensors out of a file's."""
    state = {_bare(name): value for name, value in state.items()}
    expected = network.state_dict()
    other = f"the weights file {path} does not fit {network.architecture}"
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):  # old files lack it, and nothing here reads it
            state.setdefault(name, value)
        elif name not in state:
            raise EdgeadError(
                f"{other}: it has no tensor '{name}', but "
                + (f"begins with {_few(state)}" if state else "is empty")
                + f"; give a file of {network.architecture} with torchvision's or timm's names"
            )
        elif state[name].shape != value.shape:
            raise EdgeadError(
                f"{other}: '{name}' is {_shape(state[name])} in the file and {_shape(value)} in "
                f"{network.architecture}; known here are {', '.join(ARCHITECTURES)}"
            )
    more = [name for name in state if name not in expected and not name.startswith(_UNUSED)]
    deeper = [name for name in more if name.startswith(LEVELS)]
    if deeper:
        raise EdgeadError(
            f"{other}: it has layers that {network.architecture} lacks, such as '{deeper[0]}'; "
            "it is a deeper network's file"
        )
    return {
        name: state[name].to(value.dtype).reshape(value.shape) for name, value in expected.items()
    }


def _bare(name: str) -> str:
    """Drop what wrappers put before torchvision's names."""
    while True:
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            return name
        name = name.removeprefix(prefix)


def _few(names: dict[str, Tensor]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:3])


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
