"""Write large frames of a line as a data set: small defects, and surroundings that change.

    python -m edgead.demo.frames OUT [--width N] [--defects 10,20,40] [--train N] [--good N]
        [--each N] [--seed N]

``OUT/photos`` has the plate of :class:`edgead.demo.station.Station` in MVTec AD's layout:
``defect-20`` has defects of 20 pixels, in turns of each kind, one a frame. Beside it are
``mask.png``, white where clamps and label may be, and ``view.txt`` with the crop of the plate's
face.

Photos are JPEG of quality 95 without chroma subsampling, 2.7 MB for 12 megapixels: as PNG, sensor
noise would make them six times as large.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgead import files, notices
from edgead.cli import _options
from edgead.demo.station import CROP, KINDS, WIDTH, Defect, Station
from edgead.errors import EdgeadError, UsageError
from edgead.progress import progress

SIZES = (10, 20, 40)
"""Pixels of the defects in a frame of full width."""


@dataclass(frozen=True)
class FrameCounts:
    """How many frames to render.

    Attributes:
        train: Good ones to train with.
        good: Good ones to test with.
        each: Defective ones of each size.
    """

    train: int = 60
    good: int = 30
    each: int = 20


def write_frames(
    root: Path,
    width: int = WIDTH,
    sizes: tuple[int, ...] | None = None,
    counts: FrameCounts = FrameCounts(),
    seed: int = 0,
) -> Path:
    """Write the data set.

    Args:
        root: The folder to make; it appears whole or not at all.
        width: Of the frames in pixels; the height is three quarters of it.
        sizes: Of the defects, in pixels of the frame. ``None``: :data:`SIZES`, smaller where the
            frame is.
        counts: How many frames.
        seed: The same seed gives the same frames.

    Returns:
        ``root``.

    Raises:
        UsageError: ``root`` exists, the width is none, or the plate has no room for a defect.
    """
    if root.exists():
        raise UsageError(f"{root} already exists; choose another folder")
    station = Station(width)
    if sizes is None:
        sizes = tuple(dict.fromkeys(max(2, round(size * width / WIDTH)) for size in SIZES))
    shapes = list(KINDS)
    jobs: list[tuple[str, str, Defect | None]] = [
        *((f"train/good/{index:03}", "", None) for index in range(counts.train)),
        *((f"test/good/{index:03}", "", None) for index in range(counts.good)),
    ]
    for size in sizes:
        for index in range(counts.each):
            shape, name = shapes[index % len(shapes)], f"defect-{size}/{index:03}"
            jobs.append((f"test/{name}_{shape}", f"{name}_{shape}_mask", Defect(shape, size)))
    with files.scratch_folder(root.parent) as scratch:
        made = scratch / root.name
        for number, job in enumerate(progress(jobs, total=len(jobs), label="rendering frames")):
            photo, truth, defect = job
            frame, mask = station.frame(np.random.default_rng([seed, 29, number]), defect)
            _write(made / "photos" / f"{photo}.jpg", frame)
            if defect is not None:
                _write(made / "photos/ground_truth" / f"{truth}.png", mask)
        _write(made / "mask.png", station.ignored())
        files.write_text(made / "view.txt", f"--crop {crop()} --mask mask.png\n")
        made.rename(root)
    return root


def crop() -> str:
    """Return the face of the plate as ``X,Y,W,H``, in shares of the frame."""
    return ",".join(f"{share:g}" for share in CROP)


def _write(path: Path, picture: cv2.typing.MatLike) -> None:
    quality = [
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, encoded = cv2.imencode(path.suffix, picture, quality if path.suffix == ".jpg" else [])
    if not done:
        raise EdgeadError(f"OpenCV cannot encode the picture for {path}")
    files.write_bytes(path, encoded.tobytes())


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(_options.positive_int(word) for word in text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Write the data set that the command line asks for; return the exit code."""
    defaults = FrameCounts()
    parser = argparse.ArgumentParser(prog="python -m edgead.demo.frames")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument(
        "--width",
        type=_options.positive_int,
        default=WIDTH,
        help=f"of the frames, which are 4:3 (default: {WIDTH})",
    )
    parser.add_argument(
        "--defects",
        type=_sizes,
        metavar="LIST",
        help="their sizes in pixels (default: 10,20,40; smaller where the frame is)",
    )
    for name, what in (
        ("train", "good frames to train with"),
        ("good", "good frames to test with"),
        ("each", "defective frames of each size"),
    ):
        count = getattr(defaults, name)
        parser.add_argument(
            f"--{name}",
            type=_options.positive_int,
            default=count,
            metavar="N",
            help=f"{what} (default: {count})",
        )
    parser.add_argument("--seed", type=_options.seed, default=0, metavar="N")
    args = parser.parse_args(arguments)
    counts = FrameCounts(args.train, args.good, args.each)
    try:
        with notices.shown():
            write_frames(args.out, args.width, args.defects, counts, args.seed)
    except EdgeadError as error:
        notices.error(error)
        return error.exit_code
    size = f"{args.width}x{args.width * 3 // 4} px"
    print(f"{args.out}/photos: frames of {size}; --crop {crop()} --mask {args.out}/mask.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
