"""How EfficientAd changes photos in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LUMA_BGR = (0.114, 0.587, 0.299)
RECOLOURING = 0.2  # paper, section 3.3


def jitter_one(photos: Tensor, rng: np.random.Generator, reach: float = RECOLOURING) -> Tensor:
    """Change exactly one of brightness, contrast and saturation of each photo.

    The factor is uniform, in the paper in 0.8..1.2 (section 3.3 and Algorithm 1, lines 24-26).

    Args:
        photos: uint8 ``[N, H, W, 3]`` BGR.
        rng: Draws the kind and the factor.
        reach: How far the factor may be from 1.

    Returns:
        uint8 of the same shape.
    """
    changed = []
    for photo in photos:
        kind = rng.integers(3)
        factor = float(rng.uniform(1 - reach, 1 + reach))
        values = photo.float()
        luma = (values * torch.tensor(_LUMA_BGR, device=photo.device)).sum(-1, keepdim=True)
        if kind == 0:
            anchor = torch.zeros_like(luma)
        elif kind == 1:
            anchor = luma.mean().round()
        else:
            anchor = luma
        changed.append((anchor + factor * (values - anchor)).round().clamp(0, 255).to(torch.uint8))
    return torch.stack(changed)
