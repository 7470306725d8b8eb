"""STFPM against its equations written a second time, and against the reference table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgead.errors import UsageError
from edgead.models import StepBatch, create_model
from edgead.models._fusion import NAMES
from edgead.models.stfpm import STFPM
from edgead.networks.cost import count_macs, parameter_count
from tests.models import reference
from tests.models.reference import State, network_input, photos

SIZE = (64, 96)


def model(fusion: str = "product", size: tuple[int, int] = SIZE) -> STFPM:
    torch.manual_seed(0)
    made = create_model("stfpm", size, fusion=fusion)
    assert isinstance(made, STFPM)
    reference.randomise(made)
    return made.eval()


def distances(made: STFPM, batch: torch.Tensor, training: bool = False) -> list[torch.Tensor]:
    """Half-normalised features apart: the paper's equation 2 without its factor 1/2."""
    state = State(made.state_dict())
    x = network_input(batch)
    teacher = reference.trunk(state.at("teacher_net"), x, "resnet18")
    student = reference.trunk(state.at("student"), x, "resnet18", training)
    return [
        (functional.normalize(t, dim=1) - functional.normalize(s, dim=1)).square().sum(1)
        for t, s in zip(teacher, student, strict=True)
    ]


def test_size_is_the_reference_tables() -> None:
    made = create_model("stfpm", (256, 256))
    assert isinstance(made, STFPM)
    assert parameter_count(made.teacher_net) == parameter_count(made.student) == 2_782_784
    assert parameter_count(made) == 2 * 2_782_784
    macs = count_macs(made.eval(), torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    assert macs / 1e9 == pytest.approx(3.66, abs=0.005)
    assert (made.map_spec.height, made.map_spec.width) == (64, 64)


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["product", "mean", "max"])
def test_the_map_is_the_papers(fusion: str) -> None:
    made, batch = model(fusion), photos(2, SIZE)
    maps = torch.stack(
        [
            functional.interpolate(
                level[:, None], (SIZE[0] // 4, SIZE[1] // 4), mode="bilinear", align_corners=False
            )[:, 0]
            for level in distances(made, batch)
        ]
    )
    expected = {"product": maps.prod(0), "mean": maps.mean(0), "max": maps.max(0).values}[fusion]
    torch.testing.assert_close(made.anomaly_map(batch), expected, rtol=1e-4, atol=1e-5)
    made.unit.fill_(0.5)
    scaled = expected / 0.5 ** (3 if fusion == "product" else 1)
    torch.testing.assert_close(made.anomaly_map(batch), scaled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("fusion", NAMES)
def test_the_exported_graph_gives_the_models_map(fusion: str) -> None:
    made, batch = model(fusion), photos(2, SIZE)
    made.unit.fill_(0.7)
    anomaly_map, score = made.deployable()(batch)
    expected = made.anomaly_map(batch)
    torch.testing.assert_close(anomaly_map, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score, anomaly_map.amax((1, 2)), rtol=0, atol=0)


def test_it_trains_on_the_papers_loss_and_only_the_student() -> None:
    made, batch = model().train(), photos(4, SIZE)
    step = StepBatch(batch, [0, 1, 2, 3], None, np.random.default_rng(0))
    before = {name: value.clone() for name, value in made.teacher_net.state_dict().items()}
    with torch.no_grad():
        expected = [level.mean() for level in distances(made, batch, training=True)]
    losses = made.training_losses(step)
    assert list(losses) == ["layer1", "layer2", "layer3"]
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(expected))
    optimizer, schedule = made.make_optimizer(10, 0.4)
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.4]
    after = made.teacher_net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_features_from_the_cache_give_the_same_loss() -> None:
    made, batch = model().train(), photos(3, SIZE)
    step = StepBatch(batch, [0, 1, 2], None, np.random.default_rng(0))
    with torch.no_grad():
        fresh = made.training_losses(step)
        made.fit(lambda: iter([batch]))
        cached = made.training_losses(step)
    for name, value in fresh.items():
        assert float(cached[name]) == pytest.approx(float(value), rel=1e-3)


def test_bfloat16_leaves_the_loss_and_the_running_statistics_in_float() -> None:
    made, batch = model().train(), photos(4, SIZE)
    step = StepBatch(batch, [0, 1, 2, 3], None, np.random.default_rng(0))
    full = made.training_losses(step)
    with torch.autocast("cpu", torch.bfloat16):
        half = made.training_losses(step)
    for name, value in full.items():
        assert half[name].dtype == torch.float32
        assert float(half[name].detach()) == pytest.approx(float(value.detach()), rel=0.02)
    assert made.student.bn1.running_var is not None
    assert made.student.bn1.running_var.dtype == torch.float32


@pytest.mark.parametrize("fusion", ["weighted", "learned"])
def test_a_fusion_learns_which_level_sees_defects(fusion: str) -> None:
    """Only the second map shows the painted defects; the others are noise of the same size."""
    from edgead.models import _fusion

    torch.manual_seed(0)
    batch = photos(4, SIZE)
    noise = torch.Generator().manual_seed(0)
    plain = {bytes(photo.numpy().tobytes()): photo for photo in batch}

    def maps_of(given: torch.Tensor) -> torch.Tensor:
        maps = torch.rand(1, 3, 16, 24, generator=noise)
        closest = min(plain.values(), key=lambda photo: int((photo != given[0]).sum()))
        changed = (closest != given[0]).any(-1).float()[None]
        maps[:, 1] = 0.5 + 3 * functional.adaptive_avg_pool2d(changed, (16, 24))
        return maps

    made = _fusion.create(fusion)
    _fusion.learn(made, batch, maps_of)
    with torch.no_grad():
        maps = torch.full((1, 3, 16, 24), 0.5)
        low = made(maps)
        maps[:, 1, 4:8, 4:8] = 3.0
        high = made(maps)
    assert high[0, 5, 5] > low[0, 5, 5]
    if fusion == "weighted":
        weights = made.logits.softmax(0)  # type: ignore[union-attr,operator]
        assert float(weights.sum()) == pytest.approx(1)
        assert int(weights.argmax()) == 1


def test_odd_sizes_are_refused_with_the_nearest_that_fit() -> None:
    with pytest.raises(UsageError, match="multiple of 32, such as 192 or 224"):
        create_model("stfpm", (256, 200))
