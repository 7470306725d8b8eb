"""How pixels and weights are laid out for the networks."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

# ImageNet's channel statistics, RGB, for values in 0..1: what every pretrained backbone expects.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_Module = TypeVar("_Module", bound=nn.Module)


def to_network_input(photos: Tensor) -> Tensor:
    """Turn uint8 ``[N, H, W, 3]`` BGR into normalised float32 ``[N, 3, H, W]`` RGB."""
    return normalise(photos.permute(0, 3, 1, 2).flip(1).float() / 255)


def normalise(rgb: Tensor) -> Tensor:
    """Apply ImageNet's mean and deviation to RGB ``[N, 3, H, W]`` in 0..1."""
    mean = torch.tensor(IMAGENET_MEAN, device=rgb.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=rgb.device).view(1, 3, 1, 1)
    return ((rgb - mean) / std).contiguous(memory_format=torch.channels_last)


def channels_last(module: _Module) -> _Module:
    """Lay weights out as the CPU's and GPU's fast convolutions want them."""
    moved: _Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
