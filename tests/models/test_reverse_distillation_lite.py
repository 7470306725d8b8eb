"""Reverse Distillation on EfficientNet-Lite0 against its parts, computed without it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from edgead.backbones import lite
from edgead.errors import DataError, UsageError
from edgead.export import graph
from edgead.models import StepBatch, create_model
from edgead.models.reverse_distillation_lite import ReverseDistillationLite0
from edgead.networks.cost import count_macs, parameter_count
from edgead.networks.efficientnet_lite import to_lite_input
from edgead.runtimes.onnxruntime import library
from edgead.teaching import padim
from edgead.teaching.texture import Moments
from tests.models.reference import photos, randomise

SIZE = (64, 128)
CELLS = (2, 4)
_RNG = np.random.default_rng(0)
COUNT = 9


def batches(first: int = 0, last: int = COUNT) -> Iterator[torch.Tensor]:
    yield photos(COUNT, SIZE)[first:last]


def model(**options: str | float) -> ReverseDistillationLite0:
    torch.manual_seed(0)
    made = create_model("reverse-distillation-lite0", SIZE, **options)
    assert isinstance(made, ReverseDistillationLite0)
    randomise(made)
    made.eval()
    made.fit(lambda: batches())
    made.fit_normalisation(lambda: batches(0, 4))
    return made


@pytest.fixture(scope="module")
def fused() -> ReverseDistillationLite0:
    return model()


@pytest.fixture(scope="module")
def alone() -> ReverseDistillationLite0:
    return model(fusion="none")


@torch.no_grad()
def stages_of(made: ReverseDistillationLite0, batch: torch.Tensor) -> list[torch.Tensor]:
    return made.teacher_net(to_lite_input(batch))  # type: ignore[no-any-return]


@torch.no_grad()
def level_sum(made: ReverseDistillationLite0, batch: torch.Tensor) -> np.ndarray:
    """The distances of both levels, each in its mean over the first four photos."""
    seen = stages_of(made, photos(COUNT, SIZE))

    def distances(found: list[torch.Tensor]) -> list[torch.Tensor]:
        levels = []
        for stage in (5, 6):
            mean = seen[stage].mean((0, 2, 3), keepdim=True)
            deviation = seen[stage].std((0, 2, 3), keepdim=True, unbiased=False)
            levels.append((found[stage] - mean) / deviation)
        decoded = made.decoder(made.bottleneck(levels))
        pairs = zip(levels, decoded, strict=True)
        return [1 - functional.cosine_similarity(*pair) for pair in pairs]

    units = [level.mean() for level in distances([stage[:4] for stage in seen])]
    found = distances(stages_of(made, batch))
    return sum(level / unit for level, unit in zip(found, units, strict=True)).numpy()  # type: ignore[union-attr]


def vectors(features: torch.Tensor) -> np.ndarray:
    """Means of 3x3 cells, of length 1, ``[N, cells, channels]``."""
    values = features.numpy()
    count, channels, rows, columns = values.shape
    found = np.zeros((count, rows, columns, channels))
    for row in range(rows):
        for column in range(columns):
            near = values[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            found[:, row, column] = near.mean((2, 3))
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    return found.reshape(count, -1, channels).astype(np.float32)


def test_its_size_is_what_the_docs_say() -> None:
    made = create_model("reverse-distillation-lite0", (256, 256)).eval()
    assert isinstance(made, ReverseDistillationLite0)
    decoder = parameter_count(made.decoder)
    assert decoder + parameter_count(made.bottleneck) < 2.4e6
    assert decoder < parameter_count(made.teacher_net)
    assert parameter_count(made) == pytest.approx(5.28e6, rel=0.01)
    macs = count_macs(made, torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    assert macs / 1e9 == pytest.approx(0.573, abs=0.001)


def test_alone_its_map_is_the_enlarged_sum_of_the_levels(
    alone: ReverseDistillationLite0,
) -> None:
    made, batch = alone, photos(2, SIZE, seed=3)
    with torch.no_grad():
        found = made.anomaly_map(batch).numpy()
    enlarged = functional.interpolate(
        torch.from_numpy(level_sum(made, batch))[:, None],
        (8, 16),
        mode="bilinear",
        align_corners=True,
    )[:, 0].numpy()

    expected = np.stack([gaussian_filter(entry, 0.5) for entry in enlarged])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_fused_its_score_is_of_both_and_its_map_the_taught_one(
    fused: ReverseDistillationLite0,
) -> None:
    batch = photos(3, SIZE, seed=4)
    with torch.no_grad():
        maps, scores = fused(batch)
    seen, found = stages_of(fused, photos(COUNT, SIZE)), stages_of(fused, batch)
    learner = padim.Padim(CELLS)
    for owner, each in enumerate(vectors(seen[5])):
        learner.add(each, owner)
    head = learner.head()
    texture = Moments.of(vectors(seen[2]).reshape(-1, lite.channels(2))).texture()

    def top(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = values.reshape(len(values), -1).max(1)
        return found  # a twentieth of 8 cells is one

    def taught(features: torch.Tensor) -> np.ndarray:
        return top(np.stack([head.distances(each) for each in vectors(features)]))

    trained = top(level_sum(fused, batch)) / top(level_sum(fused, photos(COUNT, SIZE)[:4])).mean()
    level = (trained * taught(found[5]) / taught(seen[5][:4]).mean()) ** 0.33
    np.testing.assert_allclose(scores.numpy(), level, rtol=1e-3)
    shape = np.stack([texture.distances(each) for each in vectors(found[2])])
    expected = shape / shape.max(1, keepdims=True) * level[:, None]
    np.testing.assert_allclose(maps.numpy().reshape(3, -1), expected, rtol=2e-3)


def test_the_exported_graph_gives_its_scores(fused: ReverseDistillationLite0) -> None:
    data = graph.to_onnx(fused)
    session = library.load().InferenceSession(data, providers=["CPUExecutionProvider"])
    batch = photos(2, SIZE, seed=5)
    maps, scores = session.run(None, {"image": batch.numpy()})
    with torch.no_grad():
        expected = fused(batch)
    np.testing.assert_allclose(maps, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-4)
    assert scores.tolist() == maps.max((1, 2)).tolist()
    # Kernels are those of the backbone again, padded as it pads.
    nodes = {node.name: node for node in onnx.load_from_string(data).graph.node}
    for block in (block for block in lite.BLOCKS if block.stride == 2):
        index = lite.BLOCKS.index(block)
        attributes = {
            a.name: list(a.ints) for a in nodes[f"teacher/blocks.{index}.depthwise"].attribute
        }
        before, behind = lite.same_padding(SIZE[0], block.kernel, 2)
        assert attributes["kernel_shape"] == [block.kernel] * 2
        assert attributes["pads"] == [before, before, behind, behind]


def test_the_loss_is_the_cosine_distance_of_each_position(
    fused: ReverseDistillationLite0,
) -> None:
    batch = photos(COUNT, SIZE)[:4]
    with torch.no_grad():
        losses = fused.training_losses(
            StepBatch(batch, [0, 1, 2, 3], None, np.random.default_rng(0))
        )
    units = fused.head.units.numpy()  # means over the same photos
    assert [float(losses[name]) for name in ("stage5", "stage6")] == pytest.approx(units, rel=2e-3)


def test_what_does_not_suit_is_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 64 pixels, not 96"):
        create_model("reverse-distillation-lite0", (96, 128))
    with pytest.raises(UsageError, match="power=0 all photos have the same score"):
        create_model("reverse-distillation-lite0", SIZE, power=0)
    made = create_model("reverse-distillation-lite0", SIZE)
    with pytest.raises(UsageError, match="leave --teacher out"):
        made.load_teacher("resnet18.pth")
    with pytest.raises(DataError, match="needs 8 photos to train on, and there are 3"):
        made.eval().fit(lambda: batches(0, 3))
