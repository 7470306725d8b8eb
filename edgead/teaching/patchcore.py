"""The graph of a taught detector: backbone, patch vectors, nearest vector of the bank, map, score.

Source: Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022),
with cosine distance, so that the search is one 1x1 convolution with the bank as its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.artifact import MapSpec
from edgead.backbones import lite, onnx_lite, safetensors
from edgead.errors import ArtifactError

NAME = "patchcore"

FEATURES = "head/features/out"
"""The tensor with the patch vectors, float32 ``[N, channels, h, w]``, each of length 1."""

BANK = "head.bank"
"""The weights with the bank, float32 ``[vectors, channels, 1, 1]``."""

MOST_VECTORS = 4096

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """What a graph is built of.

    Attributes:
        size: ``(height, width)`` of the input in pixels.
        stages: Numbers of the backbone's stages whose features are compared.
    """

    size: tuple[int, int]
    stages: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Values of a patch vector."""
        return sum(lite.channels(stage) for stage in self.stages)

    @property
    def cells(self) -> tuple[int, int]:
        """``(height, width)`` of the patch vectors."""
        step = lite.stride(self.stages[0])
        return self.size[0] // step, self.size[1] // step

    @property
    def map_spec(self) -> MapSpec:
        """The map's cells and the input pixels that they cover: all of them.

        The backbone's padding moves the middle of what a cell sees by 7.5 pixels, but maps that
        were moved back had a lower AU-PRO (docs/notes/teach.md).
        """
        height, width = self.size
        return MapSpec(*self.cells, 0.0, 0.0, float(height), float(width))


@dataclass(frozen=True)
class Made:
    """A graph and what it costs.

    Attributes:
        model: With edgead's contract; its bank is a placeholder of one vector.
        gmac: Billion multiply-accumulates of the backbone for one photo.
        parameters: Weights and biases of the backbone.
    """

    model: onnx.ModelProto
    gmac: float
    parameters: int


def build(arrays: safetensors.Arrays, design: Design) -> Made:
    """Build the graph with an empty bank (:func:`with_bank` fills it).

    Args:
        arrays: Weights of the backbone (:func:`edgead.backbones.weights.load`).
        design: What to build.

    Raises:
        UsageError: The size does not suit the backbone.
    """
    graph, stages = onnx_lite.begin(arrays, design.size, design.stages[-1])
    macs, parameters = graph.macs, graph.parameters
    step = lite.stride(design.stages[0])
    levels = []
    for stage in design.stages:
        found, times = stages[stage], lite.stride(stage) // step
        if times > 1:
            scales = np.array([1, 1, times, times], np.float32)
            name = f"head/upsample{stage}"
            inputs = [found, "", graph.constant(f"{name}.scales", scales)]
            found = graph.node(
                "Resize", inputs, name, mode="linear", coordinate_transformation_mode="half_pixel"
            )
        levels.append(found)
    found = graph.node("Concat", levels, "head/levels", axis=1) if len(levels) > 1 else levels[0]
    found = _local_mean(graph, found, "head/surroundings")
    square = graph.node("Mul", [found, found], "head/squares")
    axis = graph.constant("head.channels", np.array([1], np.int64))
    length = graph.node("ReduceSum", [square, axis], "head/energy", keepdims=1)
    least = graph.constant("head.least", np.asarray(1e-12, np.float32))
    length = graph.node("Sqrt", [graph.node("Add", [length, least], "head/above0")], "head/length")
    found = graph.node("Div", [found, length], "head/features")
    assert found == FEATURES
    bank = graph.constant(BANK, np.zeros((1, design.channels, 1, 1), np.float32))
    found = graph.node("Conv", [found, bank], "head/bank", kernel_shape=[1, 1])
    nearest = graph.node("ReduceMax", [found], "head/nearest", axes=[1], keepdims=1)
    one = graph.constant("head.one", np.asarray(1, np.float32))
    found = graph.node("Sub", [one, nearest], "head/distance")
    found = _local_mean(graph, found, "head/smooth")
    graph.nodes.append(helper.make_node("Squeeze", [found, axis], ["anomaly_map"], "head/map"))
    graph.nodes.append(
        helper.make_node(
            "ReduceMax", ["anomaly_map"], ["score"], "head/score", axes=[1, 2], keepdims=0
        )
    )
    spec = design.map_spec
    model = graph.model(
        [
            helper.make_tensor_value_info(
                "anomaly_map", TensorProto.FLOAT, ["batch", spec.height, spec.width]
            ),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
        ]
    )
    return Made(model, macs / 1e9, parameters)


def _local_mean(graph: onnx_lite.Graph, source: str, name: str) -> str:
    """Add the mean of 3x3 cells; of fewer at the border."""
    return graph.node("AveragePool", [source], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def with_bank(model: onnx.ModelProto, vectors: Floats) -> onnx.ModelProto:
    """Return the graph with another bank, float32 ``[N, channels]`` of length 1."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _bank(changed).CopyFrom(
        numpy_helper.from_array(np.ascontiguousarray(vectors)[..., None, None], BANK)
    )
    onnx.checker.check_model(changed, full_check=True)
    return changed


def bank_of(model: onnx.ModelProto) -> Floats:
    """Return the bank of a graph.

    Raises:
        ArtifactError: It has none.
    """
    values = numpy_helper.to_array(_bank(model))
    return np.asarray(values.reshape(values.shape[0], -1), np.float32)


def _bank(model: onnx.ModelProto) -> onnx.TensorProto:
    found: onnx.TensorProto | None = next(
        (tensor for tensor in model.graph.initializer if tensor.name == BANK), None
    )
    if found is None:
        raise ArtifactError("the graph has no bank of patch vectors")
    return found


def maps(vectors: Floats, bank: Floats, cells: tuple[int, int]) -> Floats:
    """Compute the anomaly map in NumPy, as the graph does.

    Args:
        vectors: Patch vectors of one photo, float32 ``[h * w, channels]``.
        bank: float32 ``[N, channels]``.
        cells: ``(h, w)``.

    Returns:
        float32 ``[h, w]``.
    """
    distances = (1 - (vectors @ bank.T).max(1)).reshape(cells)
    ones = np.ones(cells, np.float32)
    total, count = (
        cv2.boxFilter(values, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for values in (distances, ones)
    )
    return np.asarray(total / count, np.float32)


def score(vectors: Floats, bank: Floats, cells: tuple[int, int]) -> float:
    """Return the maximum of :func:`maps`."""
    return float(maps(vectors, bank, cells).max())
