"""How much of a source network several teachers have taken over, on photos of your own.

    python -m edgead.benchmarks.teachers OUT SOURCE PHOTOS TEACHER [TEACHER ...]
        [--model efficientad-n]

Needs the training install. ``SOURCE`` is the network that they were distilled from, ``PHOTOS`` a
folder that none of them should have learned from, ``TEACHER`` a file or ``shipped``. Of every
channel of the source the share of the variance is counted that the teacher's channel leaves
unexplained, each in its best scale and offset, so that teachers which were normalised on different
photos can be compared; on the photos' centres as they are and changed in one way
(:class:`edgead.teachers.changes.Changes`). Writes ``OUT/teachers.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgead import files, images, photo_files
from edgead.benchmarks.script import told
from edgead.benchmarks.selection import Pixels
from edgead.errors import DataError, EdgeadError, UsageError
from edgead.markdown import table

if TYPE_CHECKING:
    from edgead.models._pdn import PDN
    from edgead.teachers.changes import Changes
    from edgead.teachers.sources import Source

SHIPPED = "shipped"
WAYS = ("as they are", "grey", "light", "blur", "turn")
_SIZES = ("n", "s", "m")
_SEED = 17

Doubles = npt.NDArray[np.float64]


class Correlations:
    """Correlation of two sets of channels, channel by channel, summed up batch by batch."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: Doubles = np.zeros(())

    def add(self, left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> None:
        """Take in ``[N, channels, h, w]`` of both."""
        x, y = (values.swapaxes(0, 1).reshape(values.shape[1], -1) for values in (left, right))
        x, y = x.astype(np.float64), y.astype(np.float64)
        products = [x, y, x * x, y * y, x * y]
        self._sums = self._sums + np.stack([values.sum(1) for values in products])
        self._count += x.shape[1]

    def unexplained(self) -> float:
        """Return the mean over channels of one minus the squared correlation.

        That is the share of the right one's variance which the left one leaves unexplained in its
        best scale and offset. A channel that is constant on the right is not counted.

        Raises:
            DataError: All of them are.
        """
        x, y, xx, yy, xy = self._sums / self._count
        both, left, right = xy - x * y, xx - x * x, yy - y * y
        varies = right > 1e-12
        if not varies.any():
            raise DataError(
                "the source network's features are the same all over the photos, so there is "
                "nothing to explain: give photos that show something"
            )
        explained = both[varies] ** 2 / np.maximum(left[varies], 1e-12) / right[varies]
        return float(1 - explained.mean())


def measure(
    source: Source, size: str, views: Pixels, teachers: Mapping[str, PDN]
) -> dict[str, dict[str, float]]:
    """Return what each teacher leaves unexplained, by the way that the views are changed.

    Args:
        source: The network that they were distilled from.
        size: Of the teachers.
        views: uint8 ``[N, side, side, 3]`` BGR, of the source's side.
        teachers: Networks by name.

    Raises:
        EdgeadError: The source or a teacher gives no finite numbers.
        DataError: The source sees no difference between any two places of the photos.
    """
    from edgead.teachers.changes import Changes

    found: dict[str, dict[str, float]] = {teacher: {} for teacher in teachers}
    for way in WAYS:
        changes = Changes(**{name: float(name == way) for name in WAYS[1:]})
        for teacher, share in _unexplained(source, size, views, changes, teachers, way).items():
            found[teacher][way] = share
    return found


def _unexplained(
    source: Source,
    size: str,
    views: Pixels,
    changes: Changes,
    teachers: Mapping[str, PDN],
    label: str,
) -> dict[str, float]:
    import torch

    from edgead.models.base import to_network_input
    from edgead.teachers.changes import SIDE
    from edgead.teachers.distill import to_cells
    from edgead.training import photos

    rng = np.random.default_rng(_SEED)
    correlations = {teacher: Correlations() for teacher in teachers}
    for unchanged in photos.batches(views, label):
        batch = np.stack([changes.made(view, rng) for view in unchanged.numpy()])
        features = _finite(source.features(batch), "the source network")
        target = to_cells(size, features.shape)(features)
        pixels = np.stack([images.resize(view, (SIDE, SIDE)) for view in batch])
        inputs = to_network_input(torch.from_numpy(pixels))
        for teacher, network in teachers.items():
            with torch.inference_mode():
                predicted = _finite(network(inputs).numpy(), f"the teacher {teacher}")
            correlations[teacher].add(predicted, target)
    return {teacher: each.unexplained() for teacher, each in correlations.items()}


def _finite(features: npt.NDArray[np.float32], whose: str) -> npt.NDArray[np.float32]:
    if not np.isfinite(features).all():
        raise EdgeadError(f"{whose} gives features that are not finite numbers: use another file")
    return features


def _network(size: str, teacher: str) -> PDN:
    from edgead.models._pdn import PDN
    from edgead.models.efficientad import TEACHER_CHANNELS
    from edgead.teachers.pdn import load_pdn_teacher

    network = PDN(size, TEACHER_CHANNELS)
    load_pdn_teacher(network, size, None if teacher == SHIPPED else teacher)
    return network.eval()


def summary(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return Markdown: a row for each teacher."""
    rows = [
        (teacher, *(f"{100 * shares[way]:.1f} %" for way in WAYS))
        for teacher, shares in found.items()
    ]
    return table(("left unexplained by", *WAYS), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m edgead.benchmarks.teachers")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the table")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="file of the source network")
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos of anything")
    parser.add_argument(
        "teachers", nargs="+", metavar="TEACHER", help=f"file of a teacher, or '{SHIPPED}'"
    )
    parser.add_argument(
        "--model",
        default="efficientad-n",
        choices=[f"efficientad-{size}" for size in _SIZES],
        help="detector that they are for (default: efficientad-n)",
    )
    args = parser.parse_args(arguments)
    return told(
        functools.partial(
            _measured,
            args.out,
            args.source,
            args.photos,
            args.teachers,
            args.model.removeprefix("efficientad-"),
        )
    )


def _measured(
    out: Path, source_file: Path, folder: Path, teachers: Sequence[str], size: str
) -> str:
    import torch

    from edgead.teachers.distill import centre, shrunk
    from edgead.teachers.sources import open_source

    twice = next((name for name in teachers if teachers.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the teacher '{twice}' is given twice: name every teacher once")
    networks = {teacher: _network(size, teacher) for teacher in teachers}
    source = open_source(source_file, torch.device("cpu"))
    paths = photo_files.find_and_report([folder])
    photos = (shrunk(images.read_image(path), source.side) for path in paths)
    views = np.stack([centre(photo, source.side) for photo in photos])
    found = measure(source, size, views, networks)
    text = f"{len(views)} photos\n\n{summary(found)}"
    files.write_text(out / "teachers.md", f"{text}\n")
    files.write_json(out / "teachers.json", found)
    return text


if __name__ == "__main__":
    sys.exit(main())
