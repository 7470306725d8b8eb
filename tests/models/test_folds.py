"""What the exported graph has folded into its weights: each fold leaves the function as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgead.models.efficientad import EfficientAdN
from edgead.networks import pdn
from edgead.networks.inputs import IMAGENET_MEAN, IMAGENET_STD, to_network_input


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_teachers_normalisation_goes_into_its_last_convolution() -> None:
    convolution = nn.Conv2d(5, 7, 3)
    mean, std = torch.randn(1, 7, 1, 1), torch.rand(1, 7, 1, 1) + 0.1
    x = torch.randn(2, 5, 9, 9)
    wanted = (convolution(x) - mean) / std
    pdn.fold_output_normalisation(convolution, mean, std)
    same(convolution(x), wanted)


def test_colour_order_and_normalisation_go_into_the_first_convolution() -> None:
    convolution = nn.Conv2d(3, 8, 4, stride=2)
    photos = torch.randint(0, 256, (2, 20, 24, 3), dtype=torch.uint8)
    wanted = convolution(to_network_input(photos))
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    pdn.fold_input_scaling(convolution, mean, std)
    same(convolution(photos.permute(0, 3, 1, 2).float()), wanted)


def test_with_padding_that_fold_is_not_exact_and_not_made() -> None:
    with pytest.raises(ValueError, match="padding"):
        pdn.fold_input_scaling(nn.Conv2d(3, 8, 4, padding=1), torch.zeros(3), torch.ones(3))


def test_teacher_minus_student_is_one_convolution() -> None:
    teacher, student = nn.Conv2d(6, 10, 3), nn.Conv2d(4, 20, 3)
    imitation, rest = pdn.split_outputs(student, 10)
    x, y = torch.randn(2, 6, 8, 8), torch.randn(2, 4, 8, 8)
    one = pdn.subtracted(teacher, imitation)
    same(one(torch.cat([x, y], 1)), teacher(x) - student(y)[:, :10])
    same(rest(y), student(y)[:, 10:])


def test_the_maps_quantiles_are_in_the_head() -> None:
    model = EfficientAdN((96, 128), autoencoder_share=0.5).eval()
    model.quantiles.copy_(torch.tensor([[0.2, 0.7], [0.1, 0.4]]))
    photos = torch.randint(0, 256, (2, 96, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        maps = model.raw_maps(photos)
        wanted = sum(
            0.5 * 0.1 * (single - low) / (high - low)
            for single, (low, high) in zip(maps, model.quantiles.tolist(), strict=True)
        )
        found, score = model.deployable()(photos)
    assert isinstance(wanted, torch.Tensor)
    same(found, wanted)
    same(score, wanted.amax((1, 2)))
