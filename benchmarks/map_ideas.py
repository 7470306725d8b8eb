"""Ideas for EfficientAd's map and score that need no other training, against what it does.

    python -m edgead.benchmarks.map_ideas OUT RUN=DATA [RUN=DATA ...]

Needs the training install. From the outputs of each finished training's networks the photos are
scored in every way of :data:`IDEAS`; statistics that a way needs come from photos that the training
learned from, and its scale from held-out ones. What to choose by is the AUROC of held-out good
photos, as they are and as another camera might have taken them, against synthetic defects; labelled
photos are looked at only afterwards. Writes ``OUT/map_ideas.md`` and ``.json``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgead.benchmarks.map_options import Maps, maps_of, maximum, opened
from edgead.benchmarks.script import pairs, runs_parser, told
from edgead.benchmarks.selection import (
    Evidence,
    Floats,
    Pixels,
    learned_photos,
    measure_ways,
)

if TYPE_CHECKING:
    from torch import Tensor

    from edgead.models.efficientad import EfficientAd

_LEARNED = 200  # photos of the training, at most
_SHRINKAGE = 0.1  # of a covariance towards its mean variance, so that it can be inverted
_AROUND = 9  # cells a side
_SMALLEST = 1e-9  # deviation, where photos that are all the same leave none

DEFAULT = "as trained"
RAW_MAPS = ("plain", "over the root of its mean", "less the mean around", "whitened")
"""How a map is made of differences; what comes after is the same for all."""

PUAD_SHARES = {"PUAD, a fifth": 0.2, "PUAD, half": 0.5, "PUAD alone": 1.0}
"""Of the distance of the student's mean features in the score, both in their deviations on good
photos (PUAD, arXiv 2402.15143, adds them up: half)."""

IDEAS = (DEFAULT, *RAW_MAPS[1:], "by place", *PUAD_SHARES)


@dataclass(frozen=True)
class Outputs:
    """What is kept of the networks' outputs for some photos.

    Attributes:
        maps: Raw maps, their third axis in the order of :data:`RAW_MAPS`.
        pooled: The student's features, averaged over each photo, ``[N, 768]``.
    """

    maps: Maps
    pooled: Floats


def measure(run: str, data: str) -> dict[str, dict[str, float | None]]:
    """Return for each idea what to choose by, and the figures on the test photos.

    Raises:
        UsageError: The run is none of EfficientAd.
        DataError: Photos of the training are gone.
    """
    from edgead.training import photos

    model, size = opened(run)
    evidence = Evidence.of(run, data, size)
    paths = learned_photos(run)
    chosen = np.linspace(0, len(paths) - 1, min(_LEARNED, len(paths))).round().astype(int).tolist()
    learned = photos.load([paths[index] for index in chosen], size, "learned photos")
    whitening = [_inverse(covariance) for covariance in _covariances(model, learned)]
    reference = _outputs(model, whitening, learned)
    kinds = [_outputs(model, whitening, each) for each in evidence.kinds]
    share = float(model.options["autoencoder_share"])
    return {idea: evidence.aurocs(*_scores(idea, share, reference, kinds)) for idea in IDEAS}


def _scores(idea: str, share: float, reference: Outputs, kinds: Sequence[Outputs]) -> list[Floats]:
    """Score the four kinds of photos; the first, held-out good ones, gives the scale."""
    index = RAW_MAPS.index(idea) if idea in RAW_MAPS else 0
    held_out = kinds[0].maps

    def combined(outputs: Outputs) -> Floats:
        return outputs.maps.combined(held_out, index, share)

    if idea == "by place":
        learned = combined(reference)
        mean, deviation = learned.mean(0), np.maximum(learned.std(0), _SMALLEST)
        return [maximum((combined(each) - mean) / deviation) for each in kinds]
    plain = [maximum(combined(each)) for each in kinds]
    if idea not in PUAD_SHARES:
        return plain
    distances = [_mahalanobis(each.pooled, reference.pooled) for each in kinds]
    share_of_puad = PUAD_SHARES[idea]
    return [
        (1 - share_of_puad) * _standardised(score, plain[0])
        + share_of_puad * _standardised(distance, distances[0])
        for score, distance in zip(plain, distances, strict=True)
    ]


def _outputs(model: EfficientAd, whitening: Sequence[Tensor], photos: Pixels) -> Outputs:
    import torch

    centring = float(model.options["centring"])
    pooled: list[Tensor] = []

    def pool(_network: object, _inputs: object, features: Tensor) -> None:
        pooled.append(features.float().mean((2, 3)))

    first, second = (
        functools.partial(_raw_maps, whitening=matrix, centring=centring) for matrix in whitening
    )
    handle = model.student.register_forward_hook(pool)
    maps = maps_of(model, photos, (first, second))
    handle.remove()
    return Outputs(maps, torch.cat(pooled).numpy())


def _raw_maps(difference: Tensor, whitening: Tensor, centring: float) -> list[Tensor]:
    """Make every kind of raw map ``[N, h, w]`` of a difference ``[N, 384, h, w]``."""
    import torch

    from edgead.models.efficientad import centred, raw_map

    plain = raw_map(difference, centring)
    around = torch.nn.functional.avg_pool2d(
        difference, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False
    )
    whole = centred(difference, centring)
    distance = torch.einsum("nchw,cd,ndhw->nhw", whole, whitening, whole)
    return [
        plain,
        plain / plain.mean((1, 2), keepdim=True).sqrt(),
        (difference - centring * around).square().mean(1),
        distance,
    ]


def _covariances(model: EfficientAd, photos: Pixels) -> list[Tensor]:
    """Return the second moments ``[384, 384]`` of the two centred differences on good photos."""
    import torch

    from edgead.models.efficientad import centred
    from edgead.training.photos import batches

    centring = float(model.options["centring"])
    totals = [torch.zeros((), dtype=torch.float64)] * 2
    count = 0
    with torch.inference_mode():
        for batch in batches(photos, "covariances"):
            pair = model.differences(batch)
            rows = [centred(each, centring).movedim(1, -1).flatten(0, 2) for each in pair]
            products = [(row.T @ row).double() for row in rows]
            totals = [total + product for total, product in zip(totals, products, strict=True)]
            count += len(rows[0])
    return [total / count for total in totals]


def _inverse(covariance: Tensor) -> Tensor:
    """Invert a covariance that is shrunk towards its mean variance."""
    import torch

    variance = max(float(covariance.diagonal().mean()), _SMALLEST)
    ridge = _SHRINKAGE * variance * torch.eye(len(covariance), dtype=covariance.dtype)
    inverse: Tensor = torch.linalg.inv((1 - _SHRINKAGE) * covariance + ridge)
    return inverse.float()


def _mahalanobis(pooled: Floats, reference: Floats) -> Floats:
    """Return the distance of each row ``[N, channels]`` from the reference's rows."""
    import torch

    mean = reference.mean(0)
    covariance = torch.from_numpy(np.cov(reference, rowvar=False))
    apart = pooled - mean
    inverse = _inverse(covariance).numpy()
    return np.asarray(np.sqrt(np.einsum("nc,cd,nd->n", apart, inverse, apart)), np.float32)


def _standardised(scores: Floats, good: Floats) -> Floats:
    return np.asarray((scores - good.mean()) / max(float(good.std()), _SMALLEST))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = runs_parser("map_ideas")
    args = parser.parse_args(arguments)
    runs = pairs(parser, args.pairs, "RUN=DATA")
    settings = {
        "ideas": list(IDEAS),
        "learned": _LEARNED,
        "shrinkage": _SHRINKAGE,
        "around": _AROUND,
    }
    return told(lambda: measure_ways(args.out, "map_ideas", "idea", runs, settings, measure))


if __name__ == "__main__":
    sys.exit(main())
