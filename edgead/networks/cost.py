"""How large a network is, and how much it computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def parameter_count(module: nn.Module) -> int:
    """Count the weights and biases."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Count multiply-accumulates of the (transposed) convolutions in one call, without batch."""
    total = 0

    def hook(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        positions = output if isinstance(layer, nn.Conv2d) else arguments[0]
        total += layer.weight.numel() * positions.shape[-2] * positions.shape[-1]

    handles = [
        layer.register_forward_hook(hook)
        for layer in module.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return total
