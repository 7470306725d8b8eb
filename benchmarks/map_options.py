"""Which map and score of EfficientAd tell good from defective best.

    python -m edgead.benchmarks.map_options OUT RUN=DATA [RUN=DATA ...]
        [--shares 0,0.25,0.5] [--centrings 0,0.5,1] [--scores maximum,smoothed,highest]

Needs the training install. Trains nothing: from the differences of each finished training's
networks all the maps are made, by the autoencoder's share and the centring, each normalised on the
held-out good photos, and each is scored in every way asked for. What to choose by is
the AUROC of held-out good photos, as they are and as another camera might have taken them, against
synthetic defects. The labelled photos are looked at only afterwards. Writes
``OUT/map_options.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import files, images, metrics
from edgead.benchmarks.remember import remembered, run_key
from edgead.benchmarks.script import pairs, runs_parser, told
from edgead.calibration.synthetic import with_defect
from edgead.cli import _options
from edgead.datasets import Dataset
from edgead.errors import UsageError
from edgead.images import Image
from edgead.markdown import table
from edgead.progress import progress

if TYPE_CHECKING:
    from edgead.models.efficientad import EfficientAd

_VIEWS = 160
_SEED = 123
_LOW, _HIGH = 0.9, 0.995  # the quantiles of the map normalisation (EfficientAd, section 3.4)

Floats = npt.NDArray[np.float32]


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
    """Raw maps of some photos, float32 ``[photos, 2, centrings, h, w]``.

    The second axis has the student–teacher map, then the autoencoder–student map.
    """

    values: Floats

    def combined(self, held_out: Maps, index: int, share: float) -> Floats:
        """Return the photos' maps ``[photos, h, w]`` with one centring and share.

        Args:
            held_out: Good photos that normalise the maps.
            index: Of the centring.
            share: Of the autoencoder's map.
        """
        total = np.zeros((), np.float32)
        for row, weight in enumerate((1 - share, share)):
            low, high = np.quantile(held_out.values[:, row, index], [_LOW, _HIGH])
            normalised = (self.values[:, row, index] - low) / max(high - low, 1e-9)
            total = total + weight * normalised
        return np.asarray(total, np.float32)


def other_camera(photo: Image, rng: np.random.Generator) -> Image:
    """Take a photo again with another camera and lamp.

    Brightness moves by up to 15 %, each colour by up to 3 %, all by up to 6 grey levels, and there
    is noise of up to 6.
    """
    gains = rng.uniform(0.85, 1.15) * rng.uniform(0.97, 1.03, 3)
    values = photo.astype(np.float32) * gains + rng.uniform(-6, 6)
    values = values + rng.normal(0, rng.uniform(0, 6), photo.shape)
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def measure(
    run: str,
    data: str,
    shares: Sequence[float],
    centrings: Sequence[float],
    scores: Sequence[str],
) -> list[dict[str, Any]]:
    """Return one row for each map and score: what to choose by, and the test photos.

    Raises:
        UsageError: The run is none of EfficientAd.
    """
    import torch

    from edgead.export.source import Source
    from edgead.models.efficientad import EfficientAd
    from edgead.training import Run

    model, manifest = Run(run).load_model()
    if not isinstance(model, EfficientAd):
        raise UsageError(
            f"{run} is a training of {manifest.model.name}, whose map has no such options: give "
            "runs of EfficientAd"
        )
    size = manifest.input.size
    with torch.inference_mode():
        to_maps = functools.partial(_maps, model.eval(), centrings)
        held_out = [images.read_image(p) for p in Source.open(run).calibration_photos(None)]
        rng = np.random.default_rng(_SEED)
        views = [
            other_camera(held_out[index % len(held_out)], rng)
            for index in range(max(_VIEWS, len(held_out)))
        ]
        good = to_maps(held_out, size, "held-out photos")
        good_views = to_maps(views, size, "another camera")
        painted = [with_defect(view, rng) for view in views]
        defective = to_maps(painted, size, "synthetic defects")
        test = Dataset.from_folder(data).test_photos()
        labelled = to_maps([photo.path for photo in test], size, "test photos")
    rows = []
    for index, centring in enumerate(centrings):
        for share in shares:
            combined = [
                maps.combined(good, index, share)
                for maps in (good, good_views, defective, labelled)
            ]
            for name in scores:
                own, other, defects, real = (SCORES[name](maps) for maps in combined)
                normal = np.concatenate([own, other])
                rows.append(
                    {
                        "autoencoder_share": share,
                        "centring": centring,
                        "score": name,
                        "synthetic_auroc": _auroc(normal, defects),
                        "image_auroc": metrics.auroc([p.is_anomalous for p in test], real.tolist()),
                    }
                )
    return rows


def _maps(
    model: EfficientAd,
    centrings: Sequence[float],
    photos: Sequence[Image | Path],
    size: tuple[int, int],
    label: str,
) -> Maps:
    import torch

    from edgead.models.efficientad import raw_map

    made = []
    for photo in progress(photos, total=len(photos), label=label):
        pixels = images.read_image(photo) if isinstance(photo, Path) else photo
        batch = torch.from_numpy(images.resize(pixels, size)[None])
        pair = model.differences(batch)
        made.append([[raw_map(d, share)[0].numpy() for share in centrings] for d in pair])
    return Maps(np.asarray(made, np.float32))


def _auroc(good: Floats, defective: Floats) -> float | None:
    labels = [False] * len(good) + [True] * len(defective)
    return metrics.auroc(labels, [*good.tolist(), *defective.tolist()])


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return Markdown: a row for each map, ``synthetic / test photos`` of each run, the mean."""
    header = ("share, centring, score", *(Path(run).name for run in runs), "mean")
    rows = []
    for found in zip(*runs.values(), strict=True):
        pairs_ = [(row["synthetic_auroc"], row["image_auroc"]) for row in found]
        rows.append(
            (
                f"{found[0]['autoencoder_share']:g}, {found[0]['centring']:g}, {found[0]['score']}",
                *(" / ".join(_figure(value) for value in pair) for pair in pairs_),
                _figure(float(np.mean([synthetic for synthetic, _ in pairs_]))),
            )
        )
    return table(header, rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


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
    ways = (args.shares, args.centrings, args.scores)
    return told(functools.partial(_measured, args.out, runs, *ways))


def _measured(
    out: Path,
    asked: Sequence[tuple[str, str]],
    shares: Sequence[float],
    centrings: Sequence[float],
    scores: Sequence[str],
) -> str:
    """Measure all runs and return the table; what is measured is written at once."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run, data in asked:
        asked_for = {"shares": list(shares), "centrings": list(centrings), "scores": list(scores)}
        key = {**run_key(run, data), **asked_for}
        make: Callable[[], Any] = functools.partial(measure, run, data, shares, centrings, scores)
        runs[run] = remembered(out / Path(run).name / "maps.json", key, make)
        files.write_text(out / "map_options.md", f"{summary(runs)}\n")
        files.write_json(out / "map_options.json", runs)
    return summary(runs)


if __name__ == "__main__":
    sys.exit(main())
