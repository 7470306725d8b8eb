"""EfficientAd's exported graph, and the arithmetic of maps that it shares with training."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgead.networks import pdn
from edgead.networks.inputs import IMAGENET_MEAN, IMAGENET_STD
from edgead.networks.pdn import TEACHER_CHANNELS

if TYPE_CHECKING:
    from edgead.models.efficientad import EfficientAd


class DeployedEfficientAd(nn.Module):
    """The exported graph: raw pixels in, raw map and score out, constants folded.

    Teacher minus student comes out of one convolution over both networks' last activations. That
    is the same sum in FP32 with half of the output; in INT8 the small difference gets the whole
    range of its tensor, where two large tensors would each lose it to rounding before they are
    subtracted (docs/notes/int8-method.md).
    """

    mean_bgr: Tensor

    def __init__(self, model: EfficientAd) -> None:
        super().__init__()
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        teacher = copy.deepcopy(model.teacher_net).cpu().float()
        student = copy.deepcopy(model.student).cpu().float()
        self.autoencoder = copy.deepcopy(model.autoencoder).cpu().float()
        pdn.fold_output_normalisation(
            teacher.convolutions[-1], model.teacher_mean.cpu(), model.teacher_std.cpu()
        )
        for network in (teacher, student):
            pdn.fold_input_scaling(network.convolutions[0], mean, std)
        first = self.autoencoder.encoder[0]
        assert isinstance(first, nn.Conv2d)
        self.subtracts_mean = first.padding != (0, 0)
        if self.subtracts_mean:
            # Zero padding must go on meaning "the mean colour", so only the scale is folded.
            with torch.no_grad():
                first.weight.copy_((first.weight / std.view(1, 3, 1, 1) / 255).flip(1))
        else:
            pdn.fold_input_scaling(first, mean, std)
        self.register_buffer("mean_bgr", (mean * 255).flip(0).view(1, 3, 1, 1))

        self.teacher, self.student = teacher.layers[:-1], student.layers[:-1]
        imitation, self.student_autoencoder = pdn.split_outputs(
            student.convolutions[-1], TEACHER_CHANNELS
        )
        self.difference = pdn.subtracted(teacher.convolutions[-1], imitation)
        self.centring = model.centring
        self.head = nn.Conv2d(2, 1, 1)
        weights, bias = model.head()
        with torch.no_grad():
            self.head.weight.copy_(weights.view(1, 2, 1, 1) / TEACHER_CHANNELS)
            assert self.head.bias is not None
            self.head.bias.fill_(float(bias))
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        x = image.permute(0, 3, 1, 2).float()
        student = self.student(x)
        difference = self.difference(torch.cat([self.teacher(x), student], 1))
        predicted = self.autoencoder(x - self.mean_bgr if self.subtracts_mean else x)
        prediction_error = predicted - self.student_autoencoder(student)
        errors = [centred(error, self.centring) for error in (difference, prediction_error)]
        maps = torch.stack([error.square().sum(1) for error in errors], 1)
        anomaly_map = self.head(maps).squeeze(1)
        return anomaly_map, anomaly_map.amax(dim=(1, 2))


def raw_map(differences: Tensor, centring: float) -> Tensor:
    """Return the channel mean of squared differences, ``[N, h, w]``, centred before."""
    return centred(differences, centring).square().mean(1)


def centred(differences: Tensor, share: float) -> Tensor:
    """Take a share of each channel's mean over the photo off; ``[N, channels, h, w]``."""
    if share == 0:
        return differences
    # Not mean(): its operator has no way back from the exporter's operator set to that of devices.
    cells = differences.shape[2] * differences.shape[3]
    return differences - differences.sum((2, 3), keepdim=True) * (share / cells)
