"""The networks that learn in a distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgead.distillation.cells import RESNET_CELLS, is_local
from edgead.distillation.config import RESNET
from edgead.networks import pdn, resnet
from edgead.networks.pdn import TEACHER_CHANNELS


class ResNetPupil(nn.Module):
    """A ResNet-18 trunk with a head on each level that speaks the source network's features."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet.Trunk(RESNET)
        channels = resnet.ARCHITECTURES[RESNET].channels
        self.heads = nn.ModuleList(nn.Conv2d(width, TEACHER_CHANNELS, 1) for width in channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Predict the source's features from each level, no finer than they are cached."""
        predicted = []
        for level, head in zip(self.trunk(images), self.heads, strict=True):
            finer = level.shape[-1] // RESNET_CELLS
            pooled = nn.functional.avg_pool2d(level, finer) if finer > 1 else level
            predicted.append(head(pooled))
        return predicted


def with_batch_norm(size: str) -> nn.Sequential:
    """Build the teacher with a batch normalisation behind each hidden convolution."""
    plain = pdn.PDN(size, TEACHER_CHANNELS, padding=not is_local(size))
    last = plain.convolutions[-1]
    layers: list[nn.Module] = []
    for layer in plain.layers:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            if layer is not last:
                layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def without_batch_norm(network: nn.Sequential) -> nn.Sequential:
    """Fold the batch normalisations into the convolutions before them, exactly."""
    folded: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            previous = folded[-1]
            assert isinstance(previous, nn.Conv2d)
            folded[-1] = torch.nn.utils.fusion.fuse_conv_bn_eval(previous, layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded)
