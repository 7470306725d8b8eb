"""The survey's EfficientAd, against the survey's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgead.errors import UsageError
from edgead.models import StepBatch, create_model
from edgead.models.efficientad_survey import EfficientAdSurvey
from edgead.networks.cost import count_macs, parameter_count
from tests.models.reference import State, network_input, photos

SIZE = (64, 96)


def model() -> EfficientAdSurvey:
    torch.manual_seed(0)
    made = create_model("efficientad-survey", SIZE)
    assert isinstance(made, EfficientAdSurvey)
    return made.eval()


def describe(s: State, x: torch.Tensor) -> torch.Tensor:
    for index in range(0, 8, 2):
        weight, bias = s[f"layers.{index}.weight"], s[f"layers.{index}.bias"]
        x = functional.relu(functional.conv2d(x, weight, bias, stride=2, padding=1))
    return x


def reconstruct(s: State, x: torch.Tensor) -> torch.Tensor:
    for part, convolve in (
        ("encoder", functional.conv2d),
        ("decoder", functional.conv_transpose2d),
    ):
        for index in (0, 2, 4):
            weight, bias = s[f"{part}.{index}.weight"], s[f"{part}.{index}.bias"]
            x = convolve(x, weight, bias, stride=2, padding=1)
            x = x.sigmoid() if (part, index) == ("decoder", 4) else x.relu()
    return x


def test_size_is_the_reference_tables() -> None:
    made = create_model("efficientad-survey", (256, 256)).eval()
    assert isinstance(made, EfficientAdSurvey)
    assert parameter_count(made.teacher_net) == parameter_count(made.student) == 952_416
    assert parameter_count(made.autoencoder) == 331_075
    macs = count_macs(made, torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    assert macs / 1e9 == pytest.approx(1.577, abs=0.001)


@torch.no_grad()
def test_the_map_is_the_surveys_and_the_exported_graph_gives_it_too() -> None:
    made, batch = model(), photos(2, SIZE)
    s = State(made.state_dict())
    x, pixels = network_input(batch), batch.flip(-1).permute(0, 3, 1, 2) / 255
    features = torch.norm(
        describe(s.at("teacher_net"), x) - describe(s.at("student"), x), p=2, dim=1
    )
    features = functional.interpolate(
        features.unsqueeze(1), size=SIZE, mode="bilinear", align_corners=False
    ).squeeze(1)
    pixel_error = torch.norm(pixels - reconstruct(s.at("autoencoder"), pixels), p=2, dim=1)
    expected = 0.7 * features + 0.3 * pixel_error
    torch.testing.assert_close(made.anomaly_map(batch), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.deployable()(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_it_trains_on_the_surveys_loss() -> None:
    made, batch = model(), photos(2, SIZE)
    losses = made.training_losses(StepBatch(batch, [0, 1], None, np.random.default_rng(0)))
    with torch.no_grad():
        s = State(made.state_dict())
        x, pixels = network_input(batch), batch.flip(-1).permute(0, 3, 1, 2) / 255
        imitation = functional.mse_loss(
            describe(s.at("student"), x), describe(s.at("teacher_net"), x)
        )
        rebuilt = functional.mse_loss(reconstruct(s.at("autoencoder"), pixels), pixels)
    total = torch.stack(list(losses.values())).sum()
    torch.testing.assert_close(total.detach(), imitation + 0.5 * rebuilt)


def test_the_teacher_is_tuned_once_and_then_frozen() -> None:
    made, batch = model(), photos(4, SIZE)
    before = made.teacher_net.convolutions[0].weight.clone()
    made.fit(lambda: iter([batch]))
    tuned = made.teacher_net.convolutions[0].weight.clone()
    assert not torch.equal(before, tuned)
    assert not any(p.requires_grad for p in made.teacher_net.parameters())
    resumed = model()
    resumed.load_state_dict(made.state_dict())
    resumed.fit(lambda: iter([batch]))
    assert torch.equal(resumed.teacher_net.convolutions[0].weight, tuned)


def test_no_weights_are_made_up_in_silence() -> None:
    made = model()
    with pytest.raises(UsageError, match="no published weights.*--teacher random"):
        made.load_teacher(None)
    assert "random weights" in made.load_teacher("random").source
    with pytest.raises(UsageError, match="multiple of 16"):
        create_model("efficientad-survey", (256, 200))
