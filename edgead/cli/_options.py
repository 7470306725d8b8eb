"""Options that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from edgead.errors import UsageError
from edgead.view import ViewRequest

_MOST = 2**31 - 1  # what libraries count in

Subparsers = Any
"""argparse's own type for this is private."""


def image_size(text: str) -> tuple[int, int]:
    """Read ``256`` or ``256x320`` (height x width)."""
    parts = text.lower().split("x")
    try:
        sides = [int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides, default=0) < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an image size; write HEIGHTxWIDTH in pixels, for example 256x320"
        )
    return sides[0], sides[-1]


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    return _whole(text, 1, _MOST, "a whole number above 0")


def seed(text: str) -> int:
    """Read a seed."""
    return _whole(text, 0, 2**63 - 1, "a seed, a whole number from 0 on")


def _whole(text: str, least: int, most: int, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value <= most:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise argparse.ArgumentTypeError(f"'{shown}' is not {what} (largest: {most})")
    return value


def named_value(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def whole_number(text: str) -> int:
    """Read a whole number, 0 included."""
    return _whole(text, 0, _MOST, "a whole number from 0 on")


def compression(text: str) -> float | str:
    """Read ``auto`` or a number of GMAC above 0."""
    what = "neither 'auto' nor a number of GMAC above 0, for example 1.2"
    return text if text == "auto" else _above_zero(text, what)


def milliseconds(text: str) -> float:
    """Read a number of milliseconds above 0."""
    return _above_zero(text, "not a number of milliseconds above 0, for example 12")


def _above_zero(text: str, otherwise: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is {otherwise}")
    return value


def points(text: str) -> float:
    """Read a number of points, 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of points from 0 to 100")
    return value


def listed(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise argparse.ArgumentTypeError("the list is empty; write names with commas between them")
    return words


def steps_by_model(words: Sequence[str]) -> dict[str, int]:
    """Read ``N`` and ``MODEL=N``; a bare number is for all and has the key ``""``."""
    steps: dict[str, int] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            steps[name] = positive_int(number)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--steps: {error}; write N or MODEL=N") from error
    return steps


def teachers_by_model(words: Sequence[str]) -> dict[str, str]:
    """Read ``MODEL=FILE`` words of ``--teacher``."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--teacher takes MODEL=FILE, not '{word}'")
        found[name] = value
    return found


def options_by_model(words: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read ``MODEL:NAME=VALUE`` words of ``--option``."""
    found: dict[str, dict[str, str]] = {}
    for word in words:
        model, colon, rest = word.partition(":")
        name, equals, value = rest.partition("=")
        if not (model and colon and name and equals and value):
            raise UsageError(f"--option takes MODEL:NAME=VALUE, not '{word}'")
        found.setdefault(model, {})[name] = value
    return found


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add ``--runtime`` and ``--threads``."""
    parser.add_argument(
        "--runtime",
        default="auto",
        help="runtime to use (default: chosen automatically; see 'edgead runtimes')",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads of one inference (default: one per physical core, within a container's CPU "
        "quota)",
    )


def add_good(parser: argparse.ArgumentParser) -> None:
    """Add ``--good``."""
    parser.add_argument(
        "--good",
        action="append",
        default=[],
        metavar="NAME",
        help="another folder in train and test, besides 'good', with photos of good parts; may be "
        "given several times",
    )


def add_false_positive_rate(parser: argparse.ArgumentParser) -> None:
    """Add ``--false-positive-rate``."""
    parser.add_argument(
        "--false-positive-rate",
        type=float,
        metavar="X",
        help="target rate of false alarms for the threshold (default: 0.01)",
    )


def add_max_drop(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-drop``."""
    parser.add_argument(
        "--max-drop",
        type=points,
        default=0.5,
        metavar="POINTS",
        help="largest allowed loss of accuracy, in points (0.01 of a metric; default: 0.5)",
    )


def crop(text: str) -> tuple[float, float, float, float]:
    """Read ``X,Y,WIDTH,HEIGHT``."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not X,Y,WIDTH,HEIGHT in fractions of the frame, for example 0.1,0,0.8,1"
        )
    return values[0], values[1], values[2], values[3]


def tiles(text: str) -> tuple[int, int] | str:
    """Read ``auto`` or ``ROWSxCOLUMNS``."""
    if text == "auto":
        return text
    rows, times, columns = text.lower().partition("x")
    if not (times and rows.isdecimal() and columns.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither 'auto' nor ROWSxCOLUMNS, for example 3x4"
        )
    return int(rows), int(columns)


def add_crop_and_mask(parser: Any) -> None:
    """Add ``--crop`` and ``--mask`` to a parser or a group of one."""
    parser.add_argument(
        "--crop",
        type=crop,
        metavar="X,Y,W,H",
        help="judge this part only, in fractions of the frame, for example 0.1,0,0.8,1",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="image of the photos' size: what is white in it is never judged",
    )


def add_view(parser: argparse.ArgumentParser) -> None:
    """Add what of a frame is judged: ``--crop``, ``--mask``, ``--tiles`` and so on."""
    group = parser.add_argument_group(
        "view",
        "What of a frame is judged, and at which scale; 'edgead view' draws it.",
    )
    add_crop_and_mask(group)
    group.add_argument(
        "--tiles",
        type=tiles,
        metavar="RxC",
        help="rows and columns of overlapping windows, for small defects in large photos; 'auto' "
        "chooses them",
    )
    group.add_argument(
        "--tile-size",
        type=positive_int,
        metavar="PX",
        help="side of a window in pixels of the photo, instead of --tiles",
    )
    group.add_argument(
        "--keep-aspect",
        action="store_true",
        help="keep the photos' aspect ratio: the rest of the network's input is not judged",
    )


def view_request(args: argparse.Namespace) -> ViewRequest:
    """Return what :func:`add_view` read.

    Raises:
        UsageError: The options contradict each other, or a crop is not inside the frame.
    """
    return ViewRequest(args.crop, args.mask, args.tiles, args.tile_size, args.keep_aspect)


def add_trainings(parser: argparse.ArgumentParser) -> None:
    """Add what commands that train several detectors ask for: steps, teachers, options, size."""
    parser.add_argument(
        "--steps",
        type=listed,
        default=(),
        metavar="N|MODEL=N,...",
        help="training steps, for all detectors or for one (default: each detector's own)",
    )
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="teacher or backbone weights for one detector; may be given several times",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="MODEL:NAME=VALUE",
        help="an option of one detector (listed by 'edgead models'); may be given several times",
    )
    parser.add_argument(
        "--image-size",
        type=image_size,
        default=(256, 256),
        metavar="HxW",
        help="input size of every network in pixels (default: 256x256)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda", "mps"],
        help="device to train on (default: a GPU if there is one)",
    )
