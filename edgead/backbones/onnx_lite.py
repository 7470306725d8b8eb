"""EfficientNet-Lite0 as an ONNX graph, node by node, without torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgead.backbones import lite, safetensors
from edgead.backbones.folding import Folded, folded
from edgead.backbones.graph import PLACE, Graph
from edgead.errors import UsageError


def begin(arrays: safetensors.Arrays, size: tuple[int, int], last: int) -> tuple[Graph, list[str]]:
    """Build the backbone, from the photo to a stage.

    Args:
        arrays: Of :func:`edgead.backbones.weights.load`.
        size: ``(height, width)`` of the input in pixels, multiples of 32.
        last: Number of the last stage.

    Returns:
        The graph, and the name of each stage's output.

    Raises:
        UsageError: The size is not a multiple of 32.
    """
    if any(side % lite.FACTOR or side <= 0 for side in size):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is not a multiple of {lite.FACTOR} on both sides, "
            "which efficientnet-lite0 needs: use for example 256x256"
        )
    graph = Graph(size)
    graph.constant("zero", np.asarray(0, np.float32))
    graph.constant("six", np.asarray(6, np.float32))
    found = graph.pixels([lite.MEAN] * 3)
    stem = folded(arrays, "_conv_stem", "_bn0", lite.EPSILON)
    bgr = np.ascontiguousarray(stem.weight[:, ::-1]) / np.float32(lite.DEVIATION)
    name = f"{PLACE}/stem"
    found, sides = graph.convolution(
        found, Folded(bgr, stem.bias), name, size, lite.same_padding, 2
    )
    found = graph.relu6(found, f"{name}/relu6")
    stages: dict[int, str] = {}
    for block in (block for block in lite.BLOCKS if block.stage <= last):
        found, sides = _block(graph, arrays, block, found, sides)
        stages[block.stage] = found
    return graph, list(stages.values())


def _block(
    graph: Graph,
    arrays: safetensors.Arrays,
    block: lite.Block,
    source: str,
    sides: tuple[int, int],
) -> tuple[str, tuple[int, int]]:
    place = f"{PLACE}/{block.name.removeprefix('_').replace('.', '/')}"
    found = source
    if block.expansion != 1:
        layer = folded(arrays, f"{block.name}._expand_conv", f"{block.name}._bn0", lite.EPSILON)
        found, _ = graph.convolution(found, layer, f"{place}/expand", sides, lite.same_padding)
        found = graph.relu6(found, f"{place}/expand/relu6")
    layer = folded(arrays, f"{block.name}._depthwise_conv", f"{block.name}._bn1", lite.EPSILON)
    groups = block.inputs * block.expansion
    found, sides = graph.convolution(
        found, layer, f"{place}/depthwise", sides, lite.same_padding, block.stride, groups
    )
    found = graph.relu6(found, f"{place}/depthwise/relu6")
    layer = folded(arrays, f"{block.name}._project_conv", f"{block.name}._bn2", lite.EPSILON)
    found, sides = graph.convolution(found, layer, f"{place}/project", sides, lite.same_padding)
    if block.is_residual:
        found = graph.node("Add", [found, source], f"{place}/sum")
    return found, sides


def stages(arrays: safetensors.Arrays, size: tuple[int, int], last: int) -> onnx.ModelProto:
    """Return a graph from ``image`` to every stage's output, named ``stage0`` and so on.

    Args are those of :func:`begin`.
    """
    graph, names = begin(arrays, size, last)
    outputs = []
    for stage, name in enumerate(names):
        graph.nodes.append(helper.make_node("Identity", [name], [f"stage{stage}"]))
        step = lite.stride(stage)
        rows, columns = (side // step for side in size)
        shape: list[str | int | None] = ["batch", lite.channels(stage), rows, columns]
        outputs.append(helper.make_tensor_value_info(f"stage{stage}", TensorProto.FLOAT, shape))
    return graph.model(outputs)
