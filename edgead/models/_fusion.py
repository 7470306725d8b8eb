"""How the maps of several levels become one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from edgead.calibration.synthetic import with_defect

NAMES = ("product", "mean", "weighted", "max", "learned")

_LEVELS = 3
_HIDDEN = 8
_SMALLEST = 1e-4  # of a map in its unit, so that its logarithm stays finite
_PAIRS = 48  # synthetic defects to learn a fusion from, at least
_ITERATIONS = 200
_COVERED = 0.25  # share of a cell that a defect covers before the cell counts as defective


class Product(nn.Module):
    """The product of the maps: all levels must agree (STFPM, section 3.2)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``[N, 3, h, w]`` to ``[N, h, w]``."""
        first, second, third = maps.unbind(1)
        return first * second * third


class Mean(nn.Module):
    """The mean of the maps."""

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``[N, 3, h, w]`` to ``[N, h, w]``."""
        first, second, third = maps.unbind(1)  # a mean over an axis needs opset 18
        return (first + second + third) / _LEVELS


class Maximum(nn.Module):
    """The largest of the maps, place by place."""

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``[N, 3, h, w]`` to ``[N, h, w]``."""
        first, second, third = maps.unbind(1)
        return torch.maximum(torch.maximum(first, second), third)


class Weighted(nn.Module):
    """A weighted mean; the weights are learned and add up to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(_LEVELS))

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``[N, 3, h, w]`` to ``[N, h, w]``."""
        return (maps * self.logits.softmax(0).view(1, -1, 1, 1)).sum(1)


class Learned(nn.Module):
    """A small network on the maps' logarithms; gives the log-odds of a defect."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(_LEVELS, _HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HIDDEN, 1, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``[N, 3, h, w]`` to ``[N, h, w]``."""
        fused: Tensor = self.network((maps + _SMALLEST).log()).squeeze(1)
        return fused


_KINDS: dict[str, type[nn.Module]] = dict(
    zip(NAMES, (Product, Mean, Weighted, Maximum, Learned), strict=True)
)


def create(name: str) -> nn.Module:
    """Build a fusion that has not learned anything yet."""
    return _KINDS[name]().requires_grad_(False)


def learn(fusion: nn.Module, photos: Tensor, maps_of: Callable[[Tensor], Tensor]) -> None:
    """Fit a fusion's weights, if it has any, to tell painted defects from good surfaces.

    Cross entropy over cells, defective and good ones weighted alike. A weighted mean gets a scale
    and an offset of its own for that, which are thrown away.

    Args:
        fusion: Of :func:`create`; changed in place.
        photos: Held-out good photos, uint8 ``[N, H, W, 3]`` BGR.
        maps_of: Photos to level maps ``[N, 3, h, w]``.
    """
    if not list(fusion.parameters()):
        return
    maps, defective = _examples(photos, maps_of)
    balance = (1 - defective).sum() / defective.sum().clamp_min(1)
    scale = nn.Parameter(torch.ones((), device=maps.device))
    offset = nn.Parameter(torch.zeros((), device=maps.device))
    fusion.requires_grad_(True)
    optimizer = torch.optim.Adam([*fusion.parameters(), scale, offset], lr=0.02)
    with torch.enable_grad():
        for _ in range(_ITERATIONS):
            odds = fusion(maps) * scale + offset
            loss = nn.functional.binary_cross_entropy_with_logits(
                odds, defective, pos_weight=balance
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    fusion.requires_grad_(False)


def _examples(photos: Tensor, maps_of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return level maps ``[M, 3, h, w]`` and which cells are defective, 0 or 1 ``[M, h, w]``."""
    rng = np.random.default_rng(11)
    each = max(1, -(-_PAIRS // len(photos)))
    maps, cells = [], []
    with torch.no_grad():
        for photo in photos:
            good = photo.cpu().numpy()
            painted = [good, *(with_defect(good, rng) for _ in range(each))]
            for pixels in painted:
                maps.append(maps_of(torch.from_numpy(pixels).to(photo.device)[None]))
                _, _, rows, columns = maps[-1].shape
                changed = torch.from_numpy((pixels != good).any(-1)).float()
                covered = nn.functional.adaptive_avg_pool2d(changed[None], (rows, columns))
                cells.append((covered > _COVERED).float())
    return torch.cat(maps), torch.cat(cells).to(photos.device)
