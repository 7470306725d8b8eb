"""STFPM and EfficientAd on EfficientNet-Lite0 against their formulas, computed without them.

What they share with Reverse Distillation on it (fusion, map, refusals) is tested there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from edgead.export import graph
from edgead.models import StepBatch, create_model
from edgead.models._lite_detector import LiteDetector
from edgead.models.efficientad_lite import EfficientAdLite0
from edgead.models.stfpm_lite import STFPMLite0
from edgead.networks.cost import count_macs, parameter_count
from edgead.networks.efficientnet_lite import to_lite_input
from edgead.runtimes.onnxruntime import library
from tests.models.reference import photos, randomise

NAMES = ("stfpm-lite0", "efficientad-lite0")
SIZE = (64, 96)
COUNT = 9


def batches(first: int = 0, last: int = COUNT) -> Iterator[torch.Tensor]:
    yield photos(COUNT, SIZE)[first:last]


@pytest.fixture(scope="module")
def models() -> dict[str, LiteDetector]:
    return {name: made(name) for name in NAMES}


def made(name: str) -> LiteDetector:
    torch.manual_seed(0)
    model = create_model(name, SIZE)
    assert isinstance(model, LiteDetector)
    randomise(model)
    model.eval().fit(lambda: batches())
    model.fit_normalisation(lambda: batches(0, 4))
    return model


@torch.no_grad()
def levels_of(model: LiteDetector, batch: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Stage 4, and stages 5 and 6 with mean 0 and deviation 1 over the photos of the fit."""
    seen = model.teacher_net(to_lite_input(photos(COUNT, SIZE)))
    found = model.teacher_net(to_lite_input(batch))
    levels = []
    for stage in (5, 6):
        mean = seen[stage].mean((0, 2, 3), keepdim=True)
        deviation = seen[stage].std((0, 2, 3), keepdim=True, unbiased=False)
        levels.append((found[stage] - mean) / deviation)
    return found[4], levels


def step(batch: torch.Tensor) -> StepBatch:
    return StepBatch(batch, list(range(len(batch))), None, np.random.default_rng(0))


def test_stfpm_compares_directions(models: dict[str, LiteDetector]) -> None:
    model, batch = models["stfpm-lite0"], photos(COUNT, SIZE)[:4]
    assert isinstance(model, STFPMLite0)
    shared, levels = levels_of(model, batch)
    with torch.no_grad():
        found = model.student(shared)
        losses = model.training_losses(step(batch))
    for stage, level, imitated, name in zip(
        (5, 6), levels, found, ("stage5", "stage6"), strict=True
    ):
        cosine = torch.nn.functional.cosine_similarity(level, imitated)
        expected = float((2 - 2 * cosine).mean())
        assert float(losses[name]) == pytest.approx(expected, rel=2e-3), stage
        assert float(model.head.units[stage - 5]) == pytest.approx(expected, rel=2e-3)


def test_efficientad_compares_three_networks(models: dict[str, LiteDetector]) -> None:
    model, batch = models["efficientad-lite0"], photos(COUNT, SIZE)[:4]
    assert isinstance(model, EfficientAdLite0)
    shared, levels = levels_of(model, batch)
    teacher = torch.cat(levels, 1)
    with torch.no_grad():
        imitation, prediction = (torch.cat(parts, 1) for parts in model.student(shared))
        autoencoder = torch.cat(model.autoencoder(levels[0]), 1)
        losses = {name: float(loss) for name, loss in model.training_losses(step(batch)).items()}
    squares = ((teacher - imitation) ** 2).numpy()
    hard = squares[squares >= np.quantile(squares, 0.99)].mean()
    assert losses == pytest.approx(
        {
            "hard": hard,
            "plain": squares.mean(),
            "autoencoder": float(((teacher - autoencoder) ** 2).mean()),
            "student_autoencoder": float(((autoencoder - prediction) ** 2).mean()),
        },
        rel=2e-3,
    )
    # The student's map has three quarters of the sum on good photos, the autoencoder's the rest.
    maps = [squares.mean(), float(((autoencoder - prediction) ** 2).mean())]
    assert model.head.units.numpy() * [0.75, 0.25] == pytest.approx(maps, rel=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_graph_gives_its_scores(models: dict[str, LiteDetector], name: str) -> None:
    data = graph.to_onnx(models[name])
    session = library.load().InferenceSession(data, providers=["CPUExecutionProvider"])
    batch = photos(2, SIZE, seed=5)
    maps, scores = session.run(None, {"image": batch.numpy()})
    with torch.no_grad():
        expected = models[name](batch)
    np.testing.assert_allclose(maps, expected[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters", "gmac"),
    [("stfpm-lite0", 5.22e6, 0.633), ("efficientad-lite0", 5.80e6, 0.658)],
)
def test_its_size_is_what_the_docs_say(name: str, parameters: float, gmac: float) -> None:
    model = create_model(name, (256, 256)).eval()
    assert parameter_count(model) == pytest.approx(parameters, rel=0.002)
    macs = count_macs(model, torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    assert macs / 1e9 == pytest.approx(gmac, abs=0.001)


def test_the_backbone_does_not_learn(models: dict[str, LiteDetector]) -> None:
    """A step changes the student alone, and leaves the backbone's running means as they are."""
    for name in NAMES:
        model = made(name).train()
        before = {key: value.clone() for key, value in model.teacher_net.state_dict().items()}
        optimizer, _ = model.make_optimizer(10, 1e-3)
        sum(model.training_losses(step(photos(4, SIZE))).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
        after = model.teacher_net.state_dict()
        assert all(torch.equal(value, after[key]) for key, value in before.items())
        old = dict(models[name].named_parameters())
        trained = [key for key, value in model.named_parameters() if value.requires_grad]
        assert trained
        assert not any(torch.equal(model.get_parameter(key), old[key]) for key in trained)
