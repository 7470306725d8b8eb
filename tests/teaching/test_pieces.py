"""A graph in pieces computes what the whole graph does."""

from __future__ import annotations

import numpy as np

from edgead.backbones import weights
from edgead.calibration.probe import probe
from edgead.export import qdq
from edgead.teaching import patchcore, pieces


def test_pieces_compute_what_the_whole_graph_does() -> None:
    model = patchcore.build(weights.load(), patchcore.Design((256, 256), (4, 5))).model
    names = qdq.calibrated_tensors(model)
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (1, 256, 256, 3), np.uint8) for _ in range(2)]
    expected = [dict(zip(names, values, strict=True)) for values in probe(model, names, photos)]
    seen = set()
    each = []
    for piece in pieces.run(model, names, photos):
        for index, found in enumerate(piece):
            for name, values in found.items():
                largest = np.abs(expected[index][name]).max()
                np.testing.assert_allclose(values, expected[index][name], atol=1e-5 * largest)
                seen.add((index, name))
            each.append(set(found))
    assert seen == {(index, name) for index in range(2) for name in names}
    assert len(each) >= 8  # several pieces of two photos
    assert each[::2] == each[1::2]
    assert sum(map(len, each)) == 2 * len(names)  # each activation once


def test_what_crosses_a_cut_is_small() -> None:
    model = patchcore.build(weights.load(), patchcore.Design((128, 128), (2, 5))).model
    for piece in pieces.cut(model, qdq.calibrated_tensors(model)):
        for info in piece.model.graph.output:
            if info.name in piece.carried:
                sides = [dim.dim_value for dim in info.type.tensor_type.shape.dim[1:]]
                assert np.prod(sides) <= 2 * 128 * 128
