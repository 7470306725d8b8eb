"""Which map and score of EfficientAd tell good from defective best.

    python -m edgead.benchmarks.map_options OUT RUN=DATA [RUN=DATA ...]
        [--shares 0,0.25,0.5] [--centrings 0,0.5,1] [--scores maximum,smoothed,highest]

Needs the training install. Trains nothing: from the differences of each finished training's
networks all the maps are made, by the autoencoder's share and the centring, each normalised on the
held-out good photos, and each is scored in every way asked for. What to choose by is
the AUROC of held-out good photos, as they are and as another camera might have taken them, against
synthetic defects. The labelled photos are looked at only afterwards. Writes
``OUT/map_options.md`` and ``.json``; ``better`` counts the runs in which a row tells synthetic
defects better than the first row does.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from edgead.benchmarks.script import pairs, runs_parser, told
from edgead.benchmarks.selection import Evidence, Floats, Pixels, measure_ways
from edgead.cli import _options
from edgead.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from edgead.models.efficientad import EfficientAd

_LOW, _HIGH = 0.9, 0.995  # the quantiles of the map normalisation (EfficientAd, section 3.4)

RawMaps: TypeAlias = "Callable[[Tensor], Sequence[Tensor]]"


def maximum(maps: Floats) -> Floats:
    """Score maps ``[photos, h, w]`` by their highest value, as the detectors do."""
    return np.asarray(maps.max((1, 2)))


def smoothed(maps: Floats) -> Floats:
    """Score maps ``[photos, h, w]`` by the highest mean of 3x3 cells."""
    return np.asarray([cv2.blur(each, (3, 3)).max() for each in maps], np.float32)


def highest(maps: Floats) -> Floats:
    """Score maps ``[photos, h, w]`` by the mean of the highest hundredth of their cells."""
    cells = maps.reshape(len(maps), -1)
    count = max(1, round(cells.shape[1] / 100))
    return np.asarray(np.partition(cells, -count, axis=1)[:, -count:].mean(1))


SCORES: dict[str, Callable[[Floats], Floats]] = {
    "maximum": maximum,
    "smoothed": smoothed,
    "highest": highest,
}


@dataclass(frozen=True)
class Maps:
    """Raw maps of some photos, float32 ``[photos, 2, ways, h, w]``.

    The second axis has the student–teacher map, then the autoencoder–student map; the third the
    ways to make one.
    """

    values: Floats

    def combined(self, held_out: Maps, index: int, share: float) -> Floats:
        """Return the photos' maps ``[photos, h, w]`` made in one way, with a share.

        Args:
            held_out: Good photos that normalise the maps.
            index: Of the way.
            share: Of the autoencoder's map.
        """
        total = np.zeros((), np.float32)
        for row, weight in enumerate((1 - share, share)):
            low, high = np.quantile(held_out.values[:, row, index], [_LOW, _HIGH])
            normalised = (self.values[:, row, index] - low) / max(high - low, 1e-9)
            total = total + weight * normalised
        return np.asarray(total, np.float32)


def measure(
    run: str,
    data: str,
    shares: Sequence[float],
    centrings: Sequence[float],
    scores: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """Return for each map and score what to choose by, and the figures on the test photos.

    Raises:
        UsageError: The run is none of EfficientAd.
    """
    model, size = opened(run)
    from edgead.models.efficientad import raw_map

    def raw(difference: Tensor) -> list[Tensor]:
        return [raw_map(difference, centring) for centring in centrings]

    evidence = Evidence.of(run, data, size)
    kinds = [maps_of(model, photos, (raw, raw)) for photos in evidence.kinds]
    rows = {}
    for index, centring in enumerate(centrings):
        for share in shares:
            combined = [maps.combined(kinds[0], index, share) for maps in kinds]
            for name in scores:
                way = f"{share:g}, {centring:g}, {name}"
                rows[way] = evidence.aurocs(*(SCORES[name](maps) for maps in combined))
    return rows


def opened(run: str) -> tuple[EfficientAd, tuple[int, int]]:
    """Load a finished training of EfficientAd; return it with its ``(height, width)``.

    Raises:
        UsageError: It is of another detector.
    """
    from edgead.models.efficientad import EfficientAd
    from edgead.training import Run

    model, manifest = Run(run).load_model()
    if not isinstance(model, EfficientAd):
        raise UsageError(
            f"{run} is a training of {manifest.model.name}, and this is about the map of "
            "EfficientAd: give runs of that"
        )
    model.eval()
    return model, manifest.input.size


def maps_of(model: EfficientAd, photos: Pixels, raw: tuple[RawMaps, RawMaps]) -> Maps:
    """Make raw maps of photos.

    Args:
        model: In evaluation mode.
        photos: uint8 ``[N, height, width, 3]`` BGR in the detector's size.
        raw: For the student–teacher and the autoencoder–student difference ``[N, 384, h, w]``, what
            makes raw maps ``[N, h, w]`` of it, the same number of them.
    """
    import torch

    from edgead.training.photos import batches

    made = []
    with torch.inference_mode():
        for batch in batches(photos, "maps"):
            pair = zip(raw, model.differences(batch), strict=True)
            maps = [torch.stack(list(of(difference)), 1) for of, difference in pair]
            made.append(torch.stack(maps, 1).numpy())
    return Maps(np.concatenate(made))


def _numbers(text: str) -> tuple[float, ...]:
    found = tuple(float(word) for word in text.split(","))
    if not all(0 <= number <= 1 for number in found):
        raise argparse.ArgumentTypeError(f"'{text}' has a number that is not from 0 to 1")
    return found


def _score_names(text: str) -> tuple[str, ...]:
    found = _options.listed(text)
    unknown = next((name for name in found if name not in SCORES), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(
            f"there is no score '{unknown}'; choose from: {', '.join(SCORES)}"
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = runs_parser("map_options")
    parser.add_argument(
        "--shares",
        type=_numbers,
        default=(0.0, 0.25, 0.5),
        metavar="LIST",
        help="of the autoencoder's map (default: 0,0.25,0.5)",
    )
    parser.add_argument(
        "--centrings",
        type=_numbers,
        default=(0.0, 0.5, 1.0),
        metavar="LIST",
        help="of a photo's mean difference (default: 0,0.5,1)",
    )
    parser.add_argument(
        "--scores",
        type=_score_names,
        default=("maximum",),
        metavar="LIST",
        help=f"of a map: {', '.join(SCORES)} (default: maximum)",
    )
    args = parser.parse_args(arguments)
    runs = pairs(parser, args.pairs, "RUN=DATA")
    settings: dict[str, Any] = {
        "shares": list(args.shares),
        "centrings": list(args.centrings),
        "scores": list(args.scores),
    }
    make = functools.partial(measure, **settings)
    title = "share, centring, score"
    return told(lambda: measure_ways(args.out, "map_options", title, runs, settings, make))


if __name__ == "__main__":
    sys.exit(main())
