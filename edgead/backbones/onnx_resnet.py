"""ResNet trunks as ONNX graphs, node by node, without torch."""

from __future__ import annotations

import numpy as np

from edgead.backbones import resnet, safetensors
from edgead.backbones.folding import Folded, folded
from edgead.backbones.graph import PLACE, Graph
from edgead.errors import UsageError

Sides = tuple[int, int]


def begin(arrays: safetensors.Arrays, size: Sides, last: int, name: str) -> tuple[Graph, list[str]]:
    """Build a trunk, from the photo to a stage.

    Args:
        arrays: Weights with torchvision's names.
        size: ``(height, width)`` of the input in pixels, multiples of 32.
        last: Number of the last stage, 1 to 3.
        name: Of the architecture, in :data:`edgead.backbones.resnet.ARCHITECTURES`.

    Returns:
        The graph, and the name of each stage's output; stage 0 ends before the first block.

    Raises:
        UsageError: The size is not a multiple of 32.
    """
    if any(side % resnet.DIVISOR or side <= 0 for side in size):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is not a multiple of {resnet.DIVISOR} on both "
            f"sides, which {name} needs: use for example 256x256"
        )
    architecture = resnet.ARCHITECTURES[name]
    graph = Graph(size)
    found = graph.pixels([255 * value for value in resnet.MEAN[::-1]])
    stem = folded(arrays, "conv1", "bn1", resnet.EPSILON)
    scale = 255 * np.array(resnet.DEVIATION, np.float64).reshape(1, 3, 1, 1)
    bgr = np.ascontiguousarray((stem.weight / scale)[:, ::-1]).astype(np.float32)
    place = f"{PLACE}/stem"
    found, sides = graph.convolution(found, Folded(bgr, stem.bias), place, size, _padding, 2)
    found = graph.node("Relu", [found], f"{place}/relu")
    found = graph.node(
        "MaxPool",
        [found],
        f"{place}/pool",
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
    )
    sides = sides[0] // 2, sides[1] // 2
    stages = [found]
    for level, blocks in enumerate(architecture.blocks[:last]):
        for block in range(blocks):
            step = 2 if block == 0 and level else 1
            here = f"{resnet.LEVELS[level]}.{block}"
            kernels = (1, 3, 1) if architecture.bottleneck else (3, 3)
            found, sides = _block(graph, arrays, here, found, sides, step, kernels)
        stages.append(found)
    return graph, stages


def _block(
    graph: Graph,
    arrays: safetensors.Arrays,
    here: str,
    source: str,
    sides: Sides,
    step: int,
    kernels: tuple[int, ...],
) -> tuple[str, Sides]:
    """Add a residual block; its first 3x3 convolution changes the resolution."""
    place = f"{PLACE}/{here.replace('.', '/')}"
    found, current = source, sides
    for number, kernel in enumerate(kernels, 1):
        layer = folded(arrays, f"{here}.conv{number}", f"{here}.bn{number}", resnet.EPSILON)
        own = step if kernel == 3 and current == sides else 1
        name = f"{place}/conv{number}"
        found, current = graph.convolution(found, layer, name, current, _padding, own)
        if number < len(kernels):
            found = graph.node("Relu", [found], f"{name}/relu")
    if f"{here}.downsample.0.weight" in arrays:
        layer = folded(arrays, f"{here}.downsample.0", f"{here}.downsample.1", resnet.EPSILON)
        source, _ = graph.convolution(source, layer, f"{place}/shortcut", sides, _padding, step)
    found = graph.node("Add", [found, source], f"{place}/sum")
    return graph.node("Relu", [found], f"{place}/relu"), current


def _padding(side: int, kernel: int, step: int) -> tuple[int, int]:
    return kernel // 2, kernel // 2


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array that a trunk is made of, by torchvision's names.

    Args:
        name: Of the architecture.
    """
    architecture = resnet.ARCHITECTURES[name]
    found: dict[str, tuple[int, ...]] = {}

    def layer(convolution: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        found[f"{convolution}.weight"] = (outputs, inputs, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{part}"] = (outputs,)

    layer("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for level, blocks in enumerate(architecture.blocks):
        planes, outputs = 64 << level, architecture.channels[level]
        for block in range(blocks):
            here = f"{resnet.LEVELS[level]}.{block}"
            if architecture.bottleneck:
                wide = planes * architecture.width // 64
                layer(f"{here}.conv1", f"{here}.bn1", wide, inputs, 1)
                layer(f"{here}.conv2", f"{here}.bn2", wide, wide, 3)
                layer(f"{here}.conv3", f"{here}.bn3", outputs, wide, 1)
            else:
                layer(f"{here}.conv1", f"{here}.bn1", outputs, inputs, 3)
                layer(f"{here}.conv2", f"{here}.bn2", outputs, outputs, 3)
            if block == 0 and (level or inputs != outputs):
                layer(f"{here}.downsample.0", f"{here}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    return found
