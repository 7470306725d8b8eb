"""The graph of a taught detector: backbone, patch vectors, nearest vector of the bank, score, map.

Source: Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022),
with cosine distance, so that the search is one 1x1 convolution with the bank as its weights. Deep
features give the score. Shallow ones give the map its shape (:mod:`edgead.teaching.texture`).

What the score is, is the scope of a design. ``"whole"`` is for photos that one part fills: the mean
of the highest twentieth of all cells; the map is scaled so that its maximum is the score.
``"place"`` is for tiles, where a defect is small and what is far away must not count: each cell of
the map is a product of what is found around it, and the score is the highest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.artifact import MapSpec
from edgead.backbones import safetensors
from edgead.backbones.graph import Graph
from edgead.backbones.known import LITE0, Backbone
from edgead.errors import ArtifactError
from edgead.teaching.coreset import Bank, Coreset
from edgead.teaching.learner import Head
from edgead.teaching.texture import LEAST_SQUARE, Texture

NAME = "patchcore"

FEATURES = "head/features/out"
"""The tensor with the patch vectors, float32 ``[N, channels, h, w]``, each of length 1."""

BANK = "head.bank"
"""The weights with the bank, float32 ``[vectors, channels, 1, 1]``."""

SURFACE = "head/surface/out"
"""The tensor with the shallow vectors, float32 ``[N, channels, H, W]``, each of length 1."""

TEXTURE = "head.texture"
"""The convolution with the Gaussian has the weights ``TEXTURE.weight`` and ``TEXTURE.bias``."""

MOST_VECTORS = 4096

WHOLE, PLACE = "whole", "place"
SCOPES = (WHOLE, PLACE)
"""What a score is of."""

_TOP = 0.05  # share of the cells whose mean distance is the score

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """What a graph is built of.

    Attributes:
        size: ``(height, width)`` of the input in pixels.
        stages: Numbers of the backbone's stages whose features are compared.
        backbone: What looks at the photos.
        scope: What the score is of, one of :data:`SCOPES`.
    """

    size: tuple[int, int]
    stages: tuple[int, ...]
    backbone: Backbone = LITE0
    scope: str = WHOLE

    @property
    def channels(self) -> int:
        """Values of a patch vector."""
        return sum(self.backbone.channels[stage] for stage in self.stages)

    @property
    def cells(self) -> tuple[int, int]:
        """``(height, width)`` of the patch vectors."""
        return self._cells(self.stages[0])

    @property
    def map_cells(self) -> tuple[int, int]:
        """``(height, width)`` of the map."""
        return self._cells(self.backbone.surface)

    def _cells(self, stage: int) -> tuple[int, int]:
        step = self.backbone.strides[stage]
        return self.size[0] // step, self.size[1] // step

    @property
    def map_spec(self) -> MapSpec:
        """The map's cells and the input pixels that they cover: all of them."""
        height, width = self.size
        return MapSpec(*self.map_cells, 0.0, 0.0, float(height), float(width))


@dataclass(frozen=True)
class Patches:
    """Vectors of one photo, each of length 1, row by row.

    Attributes:
        deep: Patch vectors, float32 ``[h * w, channels]``.
        surface: Shallow vectors, float32 ``[H * W, channels]``.
    """

    deep: Floats
    surface: Floats

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.deep.nbytes + self.surface.nbytes


@dataclass(frozen=True)
class Made:
    """A graph and what it costs.

    Attributes:
        model: With edgead's contract; its bank is a placeholder of one vector.
        gmac: Billion multiply-accumulates for one photo, without the bank.
        parameters: Weights and biases, without the bank.
    """

    model: onnx.ModelProto
    gmac: float
    parameters: int


def _from_bank(graph: Graph, features: str, design: Design) -> str:
    """Add the distance of each cell from the nearest vector of the bank, ``[N, h, w]``."""
    bank = graph.constant(BANK, np.zeros((1, design.channels, 1, 1), np.float32))
    found = graph.node("Conv", [features, bank], "head/bank", kernel_shape=[1, 1])
    nearest = graph.node("ReduceMax", [found], "head/nearest", axes=[1], keepdims=0)
    one = graph.constant("head.one", np.asarray(1, np.float32))
    return graph.node("Sub", [one, nearest], "head/distance")


def build(
    arrays: safetensors.Arrays,
    design: Design,
    distances: Callable[[Graph, str, Design], str] = _from_bank,
) -> Made:
    """Build the graph with an empty head (:func:`with_head` fills it).

    Args:
        arrays: Weights of the backbone.
        design: What to build.
        distances: Adds what gives a distance for each cell, and returns its name.

    Raises:
        UsageError: The size does not suit the backbone.
    """
    backbone = design.backbone
    last = max(design.stages[-1], backbone.surface)
    graph, stages = backbone.begin(arrays, design.size, last)
    macs, parameters = graph.macs, graph.parameters
    step = backbone.strides[design.stages[0]]
    levels = []
    for stage in design.stages:
        found, times = stages[stage], backbone.strides[stage] // step
        if times > 1:
            scales = np.array([1, 1, times, times], np.float32)
            name = f"head/upsample{stage}"
            inputs = [found, "", graph.constant(f"{name}.scales", scales)]
            found = graph.node(
                "Resize", inputs, name, mode="linear", coordinate_transformation_mode="half_pixel"
            )
        levels.append(found)
    found = graph.node("Concat", levels, "head/levels", axis=1) if len(levels) > 1 else levels[0]
    axis = graph.constant("head.channels", np.array([1], np.int64))
    graph.constant("head.least", np.asarray(1e-12, np.float32))
    found = _of_length_one(graph, _local_mean(graph, found, "head/surroundings"), "head/features")
    assert found == FEATURES
    deep = distances(graph, found, design)

    surface = _local_mean(graph, stages[backbone.surface], "head/surface_surroundings")
    surface = _of_length_one(graph, surface, "head/surface")
    assert surface == SURFACE
    channels = backbone.channels[backbone.surface]
    empty = Texture.none(channels)
    inputs = [
        surface,
        graph.constant(f"{TEXTURE}.weight", empty.weight[..., None, None]),
        graph.constant(f"{TEXTURE}.bias", empty.bias),
    ]
    found = graph.node("Conv", inputs, "head/texture", kernel_shape=[1, 1])
    found = graph.node("Mul", [found, found], "head/texture_squares")
    found = graph.node("ReduceSum", [found, axis], "head/texture_energy", keepdims=0)
    above = graph.constant("head.least_square", np.asarray(LEAST_SQUARE, np.float32))
    found = graph.node("Add", [found, above], "head/texture_above0")
    found = graph.node("Sqrt", [found], "head/texture_distance")
    if design.scope == PLACE:
        factors = graph.node("Sqrt", [found], "head/shape"), _around(graph, deep, design, axis)
    else:
        top = graph.node("ReduceMax", [found], "head/texture_top", axes=[1, 2], keepdims=1)
        # In this order the largest value is exactly the level.
        found = graph.node("Div", [found, top], "head/shape")
        factors = found, _mean_of_top(graph, deep, design, axis)
    graph.nodes.append(helper.make_node("Mul", factors, ["anomaly_map"], "head/map"))
    graph.nodes.append(
        helper.make_node(
            "ReduceMax", ["anomaly_map"], ["score"], "head/score", axes=[1, 2], keepdims=0
        )
    )
    rows, columns = design.map_cells
    macs += channels**2 * rows * columns
    parameters += channels**2 + channels
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


def _local_mean(graph: Graph, source: str, name: str) -> str:
    """Add the mean of 3x3 cells; of fewer at the border."""
    return graph.node("AveragePool", [source], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _of_length_one(graph: Graph, source: str, name: str) -> str:
    """Divide the vector of each cell by its length."""
    square = graph.node("Mul", [source, source], f"{name}_squares")
    energy = graph.node("ReduceSum", [square, "head.channels"], f"{name}_energy", keepdims=1)
    above = graph.node("Add", [energy, "head.least"], f"{name}_above0")
    length = graph.node("Sqrt", [above], f"{name}_length")
    return graph.node("Div", [source, length], name)


def _around(graph: Graph, distances: str, design: Design, axis: str) -> str:
    """Add the mean of 3x3 distances around each cell of the map, ``[N, H, W]``."""
    found = graph.node("Unsqueeze", [distances, axis], "head/distances")
    found = _local_mean(graph, found, "head/around")
    times = design.map_cells[0] / design.cells[0], design.map_cells[1] / design.cells[1]
    scales = graph.constant("head.around.scales", np.array([1, 1, *times], np.float32))
    found = graph.node(
        "Resize",
        [found, "", scales],
        "head/around_map",
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    return graph.node("Squeeze", [found, axis], "head/level_of_map")


def _mean_of_top(graph: Graph, distances: str, design: Design, axis: str) -> str:
    """Add the mean of the largest of ``[N, h, w]``, as ``[N, 1, 1]``."""
    cells = graph.node("Flatten", [distances], "head/cells")
    count = graph.constant("head.top", np.array([top_of(design.cells)], np.int64))
    name = "head/top"
    values = f"{name}/out"
    graph.nodes.append(helper.make_node("TopK", [cells, count], [values, f"{name}/places"], name))
    mean = graph.node("ReduceMean", [values], "head/level", axes=[1], keepdims=1)
    return graph.node("Unsqueeze", [mean, axis], "head/level_of_map")


def top_of(cells: tuple[int, int]) -> int:
    """Return how many cells the score is a mean of."""
    return max(1, round(_TOP * cells[0] * cells[1]))


def with_head(model: onnx.ModelProto, head: Head, texture: Texture) -> onnx.ModelProto:
    """Return the graph with another head and Gaussian of the map.

    Args:
        model: Of :func:`build`, also in INT8.
        head: What was learned of the patch vectors.
        texture: Of the shallow vectors.
    """
    return _with_weights(with_texture(model, texture), head.tensors())


def with_texture(model: onnx.ModelProto, texture: Texture) -> onnx.ModelProto:
    """Return the graph with another Gaussian of the map."""
    weights = {
        f"{TEXTURE}.weight": texture.weight[..., None, None],
        f"{TEXTURE}.bias": texture.bias,
    }
    return _with_weights(model, weights)


def _with_weights(
    model: onnx.ModelProto, weights: Mapping[str, npt.NDArray[Any]]
) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for name, values in weights.items():
        _tensor(changed, name).CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
    onnx.checker.check_model(changed, full_check=True)
    return changed


def bank_of(model: onnx.ModelProto) -> Floats:
    """Return the bank of a graph.

    Raises:
        ArtifactError: It has none.
    """
    values = numpy_helper.to_array(_tensor(model, BANK))
    return np.asarray(values.reshape(values.shape[0], -1), np.float32)


def texture_of(model: onnx.ModelProto) -> Texture:
    """Return the Gaussian of a graph.

    Raises:
        ArtifactError: It has none.
    """
    weight, bias = (
        numpy_helper.to_array(_tensor(model, f"{TEXTURE}.{part}")) for part in ("weight", "bias")
    )
    return Texture(np.asarray(weight[..., 0, 0], np.float32), np.asarray(bias, np.float32))


def _tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto | None = next(
        (tensor for tensor in model.graph.initializer if tensor.name == name), None
    )
    if found is None:
        raise ArtifactError(f"the graph has no {name}")
    return found


@dataclass(frozen=True)
class Nearest:
    """Distance from the nearest vector of a bank.

    Attributes:
        bank: float32 ``[N, channels]`` of length 1.
    """

    bank: Floats

    def distances(self, vectors: Floats) -> Floats:
        """See :class:`~edgead.teaching.learner.Head`."""
        return np.asarray(1 - (vectors @ self.bank.T).max(1), np.float32)

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """See :class:`~edgead.teaching.learner.Head`."""
        return {BANK: self.bank[..., None, None]}

    def macs(self, cells: tuple[int, int]) -> int:
        """See :class:`~edgead.teaching.learner.Head`."""
        return self.bank.size * cells[0] * cells[1]


class Patchcore:
    """Learns a bank.

    Args:
        size: Largest number of vectors in it.
        like: Bank of the same photos in other arithmetic, whose patches are taken again: a choice
            of its own would change the order of the scores more than the arithmetic does.
    """

    def __init__(self, size: int, like: Bank | None = None) -> None:
        self._size, self._like = size, like
        self._collected = Coreset(size)
        self._again: dict[int, Floats] = {}
        self._chosen: Bank | None = None

    def wants(self, owner: int) -> bool:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return self._like is None or owner in self._like.owners

    def add(self, vectors: Floats, owner: int) -> None:
        """See :class:`~edgead.teaching.learner.Learner`."""
        if self._like is None:
            self._collected.add(vectors, owner)
        elif self.wants(owner):
            self._again[owner] = vectors[self._like.places[self._like.owners == owner]]

    def bank(self) -> Bank:
        """Return the bank; nothing can be added any more."""
        if self._chosen is None:
            self._chosen = self._collected.choose() if self._like is None else self._same_patches()
        return self._chosen

    def _same_patches(self) -> Bank:
        assert self._like is not None
        vectors = np.empty_like(self._like.vectors)
        for owner, found in self._again.items():
            vectors[self._like.owners == owner] = found
        return dataclasses.replace(self._like, vectors=vectors)

    def head(self) -> Nearest:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return Nearest(self.bank().vectors)

    def without(self, vectors: Floats, owner: int) -> Head | None:
        """See :class:`~edgead.teaching.learner.Learner`."""
        others = self.bank().without(owner).vectors
        return Nearest(others) if len(others) else None

    def fresh(self) -> Patchcore:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return Patchcore(self._size)

    def again(self) -> Patchcore:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return Patchcore(self._size, self.bank())


def score(vectors: Floats, head: Head) -> float:
    """Compute the score of the scope ``"whole"`` in NumPy, as the graph does.

    Args:
        vectors: Patch vectors of one photo, float32 ``[h * w, channels]``.
        head: What they are compared with.
    """
    distances = head.distances(vectors)
    count = top_of((len(distances), 1))
    return float(np.sort(distances)[-count:].mean())


def maps(patches: Patches, head: Head, texture: Texture, design: Design) -> Floats:
    """Compute the anomaly map in NumPy, as the graph does.

    Returns:
        float32 ``[H, W]``; its maximum is the score.
    """
    distances = texture.distances(patches.surface).reshape(design.map_cells)
    if design.scope == PLACE:
        deep = head.distances(patches.deep).reshape(design.cells)
        return np.asarray(np.sqrt(distances) * _mean_around(deep, design.map_cells), np.float32)
    level = np.float32(score(patches.deep, head))
    return np.asarray(distances / distances.max() * level, np.float32)


def _mean_around(deep: Floats, cells: tuple[int, int]) -> Floats:
    """Return the mean of 3x3 cells, of fewer at the border, for each cell of the map."""
    size, border = (3, 3), cv2.BORDER_CONSTANT
    total = cv2.boxFilter(deep, -1, size, normalize=False, borderType=border)
    count = cv2.boxFilter(np.ones_like(deep), -1, size, normalize=False, borderType=border)
    mean = np.asarray(total / count, np.float32)
    return np.asarray(cv2.resize(mean, cells[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
