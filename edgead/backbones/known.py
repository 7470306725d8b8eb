"""The backbones that detectors are taught on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgead.backbones import lite, onnx_lite, onnx_resnet, resnet
from edgead.backbones.graph import Graph
from edgead.backbones.safetensors import Arrays

Begin = Callable[[Arrays, tuple[int, int], int], tuple[Graph, list[str]]]


@dataclass(frozen=True)
class Backbone:
    """A backbone; its stages are numbered from the photo on.

    Attributes:
        name: Of the backbone.
        channels: Channels of each stage's output.
        strides: Pixels of the input between two cells of it.
        first: Number of the first stage that may be compared.
        compared: Stages that are compared where nothing else is said.
        others: What else labelled defects may choose.
        surface: The stage that the heat map comes from: the deepest of stride 8.
        begin: Builds a graph from weights, the input's size and the number of the last stage;
            returns it and the name of each stage's output.
    """

    name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    first: int
    compared: tuple[int, ...]
    others: tuple[tuple[int, ...], ...]
    surface: int
    begin: Begin

    @property
    def last(self) -> int:
        """Number of the last stage."""
        return len(self.channels) - 1


LITE0 = Backbone(
    "efficientnet-lite0",
    tuple(map(lite.channels, range(lite.STAGES))),
    tuple(map(lite.stride, range(lite.STAGES))),
    first=2,
    compared=(4, 5),
    others=((3, 4, 5), (4,), (5,)),
    surface=2,
    begin=onnx_lite.begin,
)


def _resnet(name: str) -> Backbone:
    """Stages 2 and 3 are compared, as in PatchCore (Roth et al., CVPR 2022, section 4.4.2)."""
    return Backbone(
        name,
        (64, *resnet.ARCHITECTURES[name].channels),
        (4, 4, 8, 16),
        first=1,
        compared=(2, 3),
        others=((1, 2, 3), (2,), (3,)),
        surface=2,
        begin=partial(onnx_resnet.begin, name=name),
    )


BACKBONES = {made.name: made for made in (LITE0, _resnet("resnet18"), _resnet("wide_resnet50_2"))}
