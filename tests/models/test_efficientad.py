"""The networks against the reference table, the maps and losses against the paper's words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgead.errors import UsageError
from edgead.models import StepBatch, create_model
from edgead.models._augment import jitter_one
from edgead.models.efficientad import EfficientAd
from edgead.models.options import OptionValue
from edgead.networks.cost import count_macs, parameter_count
from edgead.networks.pdn import receptive_field

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


def photos(count: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, *size, 3), np.uint8))


def model_with_statistics(name: str, size: tuple[int, int], **options: OptionValue) -> EfficientAd:
    torch.manual_seed(0)
    model = create_model(name, size, **options)
    assert isinstance(model, EfficientAd)
    model.teacher_mean.normal_(0, 0.1)
    model.teacher_std.uniform_(0.5, 1.5)
    model.quantiles.copy_(torch.tensor([[0.2, 0.9], [0.1, 0.4]]))
    return model.eval()


@pytest.mark.parametrize(
    ("name", "parameters", "teacher", "gmac"),
    [
        ("efficientad-s", 8_057_856, 2_694_144, 37.947),
        ("efficientad-m", 20_738_432, 8_026_624, 117.7),
    ],
)
def test_the_papers_networks_have_the_papers_size(
    name: str, parameters: int, teacher: int, gmac: float
) -> None:
    model = create_model(name, (256, 256))
    assert isinstance(model, EfficientAd)
    assert parameter_count(model) == parameters
    assert parameter_count(model.teacher_net) == teacher
    if name == "efficientad-s":  # the medium one takes seconds more to say the same
        macs = count_macs(model, torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
        assert macs / 1e9 == pytest.approx(gmac, abs=0.05)


def test_n_keeps_its_budget() -> None:
    model = create_model("efficientad-n", (256, 256))
    assert count_macs(model, torch.zeros(1, 256, 256, 3, dtype=torch.uint8)) <= 3e9
    assert min(model.map_spec.height, model.map_spec.width) >= 28
    assert receptive_field("n") >= 30


def small_pdn(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """EfficientAd-S's patch description network, written out from the paper's Table 5."""
    weights = [value for key, value in state.items() if key.endswith("weight")]
    biases = [value for key, value in state.items() if key.endswith("bias")]
    x = functional.avg_pool2d(functional.relu(functional.conv2d(x, weights[0], biases[0])), 2)
    x = functional.avg_pool2d(functional.relu(functional.conv2d(x, weights[1], biases[1])), 2)
    x = functional.relu(functional.conv2d(x, weights[2], biases[2]))
    return functional.conv2d(x, weights[3], biases[3])


@torch.no_grad()
def test_s_gives_the_papers_map_and_the_exported_graph_gives_it_too() -> None:
    model = model_with_statistics("efficientad-s", (256, 256))
    batch = photos(1, (256, 256))
    x = (batch.flip(-1).permute(0, 3, 1, 2) / 255 - MEAN) / STD  # RGB from here on
    teacher = (small_pdn(x, model.teacher_net.state_dict()) - model.teacher_mean) / (
        model.teacher_std
    )
    student = small_pdn(x, model.student.state_dict())
    predicted = model.autoencoder(x)
    student_map = (teacher - student[:, :384]).square().mean(1)
    autoencoder_map = (predicted - student[:, 384:]).square().mean(1)
    expected = 0.5 * (0.1 * (student_map - 0.2) / 0.7 + 0.1 * (autoencoder_map - 0.1) / 0.3)
    assert tuple(expected.shape[1:]) == (56, 56)
    torch.testing.assert_close(model.anomaly_map(batch), expected, rtol=1e-4, atol=1e-5)
    exported, score = model.deployable()(batch)
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5)
    assert float(score) == float(exported.max())


@torch.no_grad()
@pytest.mark.parametrize("size", [(96, 128), (256, 200)])
def test_n_exported_gives_the_models_map_at_other_sizes(size: tuple[int, int]) -> None:
    model = model_with_statistics("efficientad-n", size)
    batch = photos(2, size)
    expected = model.anomaly_map(batch)
    assert tuple(expected.shape[1:]) == (model.map_spec.height, model.map_spec.width)
    torch.testing.assert_close(model.deployable()(batch)[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("centring", [0.5, 1.0])
def test_a_share_of_the_photos_mean_difference_is_taken_off(centring: float) -> None:
    size = (96, 128)
    model = model_with_statistics("efficientad-n", size, centring=centring)
    batch = photos(2, size)
    x = (batch.flip(-1).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    teacher = (model.teacher_net(x) - model.teacher_mean) / model.teacher_std
    student = model.student(x)
    expected = []
    for difference in (teacher - student[:, :384], model.autoencoder(x) - student[:, 384:]):
        mean = difference.flatten(2).mean(2)[:, :, None, None]
        expected.append((difference - centring * mean).square().mean(1))
    for found, wanted in zip(model.raw_maps(batch), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        model.deployable()(batch)[0], model.anomaly_map(batch), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_autoencoder_has_the_share_that_is_asked_for(share: float) -> None:
    model = model_with_statistics("efficientad-n", (96, 96), autoencoder_share=share)
    batch = photos(2, (96, 96))
    (low, high), maps = model.quantiles.T, model.raw_maps(batch)
    scaled = [0.1 * (m - a) / (b - a) for m, a, b in zip(maps, low, high, strict=True)]
    expected = (1 - share) * scaled[0] + share * scaled[1]
    torch.testing.assert_close(model.anomaly_map(batch), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.deployable()(batch)[0], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="must be a number from 0 to 1, not '1.5'"):
        create_model("efficientad-n", (96, 96), autoencoder_share="1.5")


def test_s_trains_on_the_papers_losses() -> None:
    model = model_with_statistics("efficientad-s", (256, 256))
    batch = photos(1, (256, 256))
    other = photos(1, (256, 256), seed=1)
    losses = model.training_losses(StepBatch(batch, [0], other, np.random.default_rng(5)))
    with torch.no_grad():
        x, changed, foreign = (
            (p.flip(-1).permute(0, 3, 1, 2) / 255 - MEAN) / STD
            for p in (batch, jitter_one(batch, np.random.default_rng(5)), other)
        )
        teacher, on_changed = (
            (small_pdn(v, model.teacher_net.state_dict()) - model.teacher_mean) / model.teacher_std
            for v in (x, changed)
        )
        state = model.student.state_dict()
        distance = (teacher - small_pdn(x, state)[:, :384]).square()
        hardest = distance[distance >= torch.quantile(distance.flatten()[:], 0.999)]
        predicted = model.autoencoder(changed)
        expected = {
            "hard": hardest.mean(),
            "penalty": small_pdn(foreign, state)[:, :384].square().mean(),
            "autoencoder": (on_changed - predicted).square().mean(),
            "student_autoencoder": (predicted - small_pdn(changed, state)[:, 384:]).square().mean(),
        }
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert float(losses[name].detach()) == pytest.approx(float(value), rel=1e-3), name


def test_quantiles_are_those_of_the_raw_maps() -> None:
    model = model_with_statistics("efficientad-n", (96, 96))
    batches = [photos(2, (96, 96), seed) for seed in range(3)]
    model.fit_normalisation(lambda: iter(batches))
    with torch.no_grad():
        raw = [torch.cat(maps) for maps in zip(*map(model.raw_maps, batches), strict=True)]
    for row, values in zip(model.quantiles, raw, strict=True):
        expected = torch.quantile(values.flatten(), torch.tensor([0.9, 0.995]))
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["efficientad-n", "efficientad-s"])
def test_a_size_that_is_too_small_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match=f"an image height of 16 px is too small for {name}"):
        create_model(name, (16, 256))


def test_jitter_changes_one_thing_at_a_time() -> None:
    photo = photos(1, (8, 8)) // 2 + 64  # nothing is clipped
    values = photo.double()
    luma = (values * torch.tensor([0.114, 0.587, 0.299])).sum(-1, keepdim=True)
    anchors = {"brightness": torch.zeros(1), "contrast": luma.mean(), "saturation": luma}
    rng, kinds = np.random.default_rng(0), []
    for _ in range(12):
        changed = jitter_one(photo, rng).double()
        off = {}
        for kind, anchor in anchors.items():
            away = values - anchor
            factor = ((changed - anchor) * away).sum() / away.square().sum()
            off[kind] = float((anchor + factor * away - changed).abs().max())
        kinds.append(min(off, key=lambda kind: off[kind]))
        assert off[kinds[-1]] < 1  # rounded
    assert set(kinds) == set(anchors)


def test_recolouring_reaches_as_far_as_it_is_asked_to() -> None:
    batch = photos(1, (8, 8))
    assert (jitter_one(batch, np.random.default_rng(0), 0) == batch).all()
    changes = [
        int((jitter_one(batch, np.random.default_rng(seed), reach).int() - batch.int()).abs().max())
        for reach in (0.05, 0.5)
        for seed in range(8)
    ]
    assert max(changes[:8]) <= 0.05 * 255 + 1 < max(changes[8:])


def losses(name: str, images: torch.Tensor, seed: int, **options: float) -> dict[str, float]:
    size = (images.shape[1], images.shape[2])
    model = model_with_statistics(name, size, **options)
    step = StepBatch(images, [0], photos(1, size, seed=1), np.random.default_rng(seed))
    return {key: float(loss.detach()) for key, loss in model.training_losses(step).items()}


@pytest.mark.parametrize(("name", "side"), [("efficientad-n", 96), ("efficientad-s", 256)])
def test_recolouring_and_penalty_are_in_the_losses(name: str, side: int) -> None:
    batch = photos(1, (side, side))
    plain = losses(name, batch, 5, recolouring=0)
    heavier = losses(name, batch, 5, recolouring=0, penalty=3)
    assert heavier == pytest.approx({**plain, "penalty": 3 * plain["penalty"]}, rel=1e-4)
    recoloured = losses(name, batch, 5, recolouring=0.9)
    assert recoloured["autoencoder"] != pytest.approx(plain["autoencoder"], rel=1e-3)
