"""A Gaussian at each place of a part, in place of a bank: for parts that always lie the same way.

Source: Defard et al., "PaDiM: a patch distribution modeling framework for anomaly detection and
localization" (ICPR 2021 workshops), with three changes. The covariance belongs to 2x2 cells, so
that it comes from four times as many vectors. It is a mean of their own and of all cells' one
(Friedman, "Regularized discriminant analysis", JASA 84, 1989), so that few photos are enough. Of
its difference from that of all cells the largest directions are kept, so that the file is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.backbones import safetensors
from edgead.backbones.graph import Graph
from edgead.teaching import patchcore
from edgead.teaching.learner import Floats, Head, Learner
from edgead.teaching.patchcore import Design, Made

NAME = "padim"

FEWEST_PHOTOS = 8
"""Fewer show no Gaussian at a place."""

MOST_CHANNELS = 512
"""Of a patch vector: memory and the file grow with the square."""

MEANS, WHITENING = "head.means", "head.whitening"
"""Weights: whitened means, float32 ``[1, channels, h, w]``; ``[channels, channels, 1, 1]``."""

SCALES, DIRECTIONS = "head.scales", "head.directions"
"""Weights: float32 ``[1, blocks, 1]``; float32 ``[blocks, channels, kept]``."""

_OWN = 0.7  # weight of a block's own covariance
_PRIOR = 2.0  # photos that the mean of all cells counts as much as
_RIDGE = 1e-3  # share of the mean variance
_LEAST = np.float32(1e-6)  # of a squared distance
_KEPT = 64  # directions of a block
_LEFT_OUT = 64  # up to so many photos are left out one by one


def block_of(cells: tuple[int, int]) -> int:
    """Return how many cells a block has on each side."""
    return 2 if not cells[0] % 2 and not cells[1] % 2 else 1


def kept_of(channels: int) -> int:
    """Return how many directions of a block are kept."""
    return min(_KEPT, channels // 3)


def build(arrays: safetensors.Arrays, design: Design) -> Made:
    """Build the graph with an empty head; arguments as :func:`edgead.teaching.patchcore.build`."""
    return patchcore.build(arrays, design, _distances)


def _distances(graph: Graph, features: str, design: Design) -> str:
    """Add the distance of each cell from its Gaussian, ``[N, h, w]``."""
    (rows, columns), channels = design.cells, design.channels
    block = block_of(design.cells)
    down, across = rows // block, columns // block
    kept = kept_of(channels)
    whitening = graph.constant(WHITENING, np.zeros((channels, channels, 1, 1), np.float32))
    means = graph.constant(MEANS, np.zeros((1, channels, rows, columns), np.float32))
    found = graph.node("Conv", [features, whitening], "head/whitened", kernel_shape=[1, 1])
    found = graph.node("Sub", [found, means], "head/centred")
    shape = graph.constant(
        "head.in_blocks", np.array([0, channels, down, block, across, block], np.int64)
    )
    found = graph.node("Reshape", [found, shape], "head/in_blocks")
    found = graph.node("Transpose", [found], "head/by_block", perm=[0, 2, 4, 3, 5, 1])
    shape = graph.constant(
        "head.blocks", np.array([0, down * across, block * block, channels], np.int64)
    )
    found = graph.node("Reshape", [found, shape], "head/blocks")
    last = graph.constant("head.last", np.array([-1], np.int64))
    energy = _energy(graph, found, last, "head/energy")
    scales = graph.constant(SCALES, np.ones((1, down * across, 1), np.float32))
    energy = graph.node("Mul", [energy, scales], "head/scaled")
    directions = graph.constant(DIRECTIONS, np.zeros((down * across, channels, kept), np.float32))
    found = graph.node("MatMul", [found, directions], "head/directed")
    found = graph.node("Sub", [energy, _energy(graph, found, last, "head/known")], "head/square")
    found = graph.node("Max", [found, graph.constant("head.lowest", _LEAST)], "head/square_above0")
    found = graph.node("Sqrt", [found], "head/root")
    shape = graph.constant("head.apart", np.array([0, down, across, block, block], np.int64))
    found = graph.node("Reshape", [found, shape], "head/apart")
    found = graph.node("Transpose", [found], "head/in_place", perm=[0, 1, 3, 2, 4])
    shape = graph.constant("head.cells", np.array([0, rows, columns], np.int64))
    return graph.node("Reshape", [found, shape], "head/distance")


def _energy(graph: Graph, source: str, axis: str, name: str) -> str:
    square = graph.node("Mul", [source, source], f"{name}_squares")
    return graph.node("ReduceSum", [square, axis], name, keepdims=0)


@dataclass(frozen=True)
class Gaussians:
    """A Gaussian for each cell.

    A squared distance is ``scale * |x|^2 - |x @ directions|^2`` with ``x`` the whitened vector less
    the whitened mean.

    Attributes:
        means: Whitened, float32 ``[h * w, channels]``.
        whitening: Of the covariance of all cells, float32 ``[channels, channels]``.
        scales: float32 ``[blocks]``.
        directions: float32 ``[blocks, channels, kept]``.
        cells: ``(h, w)``.
    """

    means: Floats
    whitening: Floats
    scales: Floats
    directions: Floats
    cells: tuple[int, int]

    def distances(self, vectors: Floats) -> Floats:
        """See :class:`~edgead.teaching.learner.Head`."""
        found = vectors @ self.whitening.T - self.means
        blocks = _in_blocks(found, self.cells)
        known = blocks @ self.directions
        square = np.square(blocks).sum(2) * self.scales[:, None] - np.square(known).sum(2)
        return _in_place(np.sqrt(np.maximum(square, _LEAST)), self.cells)

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """See :class:`~edgead.teaching.learner.Head`."""
        return {
            MEANS: self.means.T.reshape(1, -1, *self.cells),
            WHITENING: self.whitening[..., None, None],
            SCALES: self.scales[None, :, None],
            DIRECTIONS: self.directions,
        }

    def macs(self, cells: tuple[int, int]) -> int:
        """See :class:`~edgead.teaching.learner.Head`."""
        each: int = self.whitening.size + self.directions[0].size
        return cells[0] * cells[1] * each


class Padim:
    """Learns Gaussians.

    Args:
        cells: ``(h, w)`` of the patch vectors.
    """

    def __init__(self, cells: tuple[int, int]) -> None:
        self._cells = cells
        self._photos = 0
        self._sums: npt.NDArray[np.float64] = np.zeros(0)  # [h * w, channels]
        self._products: npt.NDArray[np.float64] = np.zeros(0)  # [blocks, channels, channels]

    def wants(self, owner: int) -> bool:
        """Every photo counts."""
        return True

    def add(self, vectors: Floats, owner: int) -> None:
        """See :class:`~edgead.teaching.learner.Learner`."""
        self._count(vectors, 1)

    def _count(self, vectors: Floats, photos: int) -> None:
        exact = vectors.astype(np.float64)
        blocks = _in_blocks(exact, self._cells)
        self._sums = self._sums + photos * exact if self._photos else exact
        products = blocks.transpose(0, 2, 1) @ blocks
        self._products = self._products + photos * products if self._photos else products
        self._photos += photos

    def head(self) -> Gaussians:
        """See :class:`~edgead.teaching.learner.Learner`."""
        photos, sums = self._photos, self._sums
        middle = sums.mean(0) / photos
        means = (sums + _PRIOR * middle) / (photos + _PRIOR)
        # Around the mean that is used, which is not quite that of the vectors.
        cross = _in_blocks(sums, self._cells).transpose(0, 2, 1) @ _in_blocks(means, self._cells)
        own = _in_blocks(means, self._cells)
        scatter = self._products - cross - cross.transpose(0, 2, 1)
        scatter = scatter + photos * (own.transpose(0, 2, 1) @ own)
        count = photos * own.shape[1]
        channels = sums.shape[1]
        shared = scatter.sum(0) / (len(sums) * photos)
        shared += max(_RIDGE * np.trace(shared) / channels, 1e-9) * np.eye(channels)
        whitening = np.linalg.inv(np.linalg.cholesky(shared))
        kept = kept_of(channels)
        scales, directions = [], []
        for block in scatter / max(count - 1, 1):
            covariance = _OWN * (whitening @ block @ whitening.T) + (1 - _OWN) * np.eye(channels)
            variances, axes = np.linalg.eigh(covariance)
            scale = (1 / variances[:-kept]).mean()
            scales.append(scale)
            weights = np.sqrt(np.maximum(scale - 1 / variances[-kept:], 0))
            directions.append(axes[:, -kept:] * weights)
        size = np.sqrt(channels)
        return Gaussians(
            (means @ whitening.T / size).astype(np.float32),
            (whitening / size).astype(np.float32),
            np.array(scales, np.float32),
            np.array(directions, np.float32),
            self._cells,
        )

    def without(self, vectors: Floats, owner: int) -> Head | None:
        """See :class:`~edgead.teaching.learner.Learner`.

        One of more than 64 photos changes a Gaussian too little to be left out.
        """
        if self._photos < 2:
            return None
        if self._photos > _LEFT_OUT:
            return self._whole()
        others = self.fresh()
        others._photos, others._sums, others._products = self._photos, self._sums, self._products
        others._count(vectors, -1)
        return others.head()

    def _whole(self) -> Gaussians:
        found: Gaussians | None = getattr(self, "_made", None)
        if found is None:
            found = self._made = self.head()
        return found

    def fresh(self) -> Padim:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return Padim(self._cells)

    def again(self) -> Learner:
        """See :class:`~edgead.teaching.learner.Learner`."""
        return self.fresh()


def _in_blocks(values: npt.NDArray[Any], cells: tuple[int, int]) -> npt.NDArray[Any]:
    """Return ``[h * w, channels]`` as ``[blocks, cells of a block, channels]``."""
    rows, columns = cells
    block = block_of(cells)
    apart = values.reshape(rows // block, block, columns // block, block, -1)
    found: npt.NDArray[Any] = apart.transpose(0, 2, 1, 3, 4)
    return found.reshape(-1, block * block, values.shape[1])


def _in_place(values: Floats, cells: tuple[int, int]) -> Floats:
    """Return ``[blocks, cells of a block]`` row by row, ``[h * w]``."""
    rows, columns = cells
    block = block_of(cells)
    apart = values.reshape(rows // block, columns // block, block, block)
    return np.ascontiguousarray(apart.transpose(0, 2, 1, 3).reshape(-1))
