"""How the learning rate changes over a training of few steps."""

from __future__ import annotations

import math

import torch


def warm_up_and_cosine(
    optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Raise the rate over the first tenth of the steps (100 at most), then lower it to a hundredth.

    Args:
        optimizer: With the highest rate.
        steps: Of the whole training.
    """
    warm_up = max(1, min(100, steps // 10))

    def factor(step: int) -> float:
        ramp = min(1.0, (step + 1) / warm_up)
        return ramp * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
