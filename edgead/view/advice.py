"""How much of a photo's detail a network sees, said before hours are spent on learning from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgead import images, notices
from edgead.artifact.specs import ViewSpec
from edgead.view.request import ViewRequest
from edgead.view.view import View

Size = tuple[int, int]

MOST_SHRINK = 4.0
"""A defect of 20 px has 5 px then, less than a cell of a map."""

_DEFECT = 20  # px of a photo, for the example


def view_of(request: ViewRequest, photos: Sequence[Path], size: Size) -> ViewSpec | None:
    """Return the view that a command asks for, and warn where small defects would vanish.

    Args:
        request: The options of the command.
        photos: Photos of one camera; the first shows how large they are.
        size: ``(height, width)`` of the network's input.

    Raises:
        EdgeadError: As :meth:`ViewRequest.resolve`, or the first photo cannot be read.
    """
    if not photos:
        return None  # refused with a better word by those who want photos
    photo = images.read_image(photos[0])
    frame = photo.shape[0], photo.shape[1]
    spec = request.resolve(frame, size)
    warning = vanishing(View(size, spec=spec), frame)
    if warning is not None:
        notices.warn(warning)
    return spec


def vanishing(view: View, frame: Size) -> str | None:
    """Return a warning where a network sees so little of a frame that small defects vanish.

    Args:
        view: What of the frame is judged.
        frame: Its ``(height, width)`` in pixels.

    Returns:
        ``None`` where it sees enough.
    """
    times = view.shrink(frame)
    if times <= MOST_SHRINK:
        return None
    keeps = False if view.spec is None else view.spec.keeps_aspect
    crop = None if view.spec is None else view.spec.crop
    more = View(
        view.size,
        spec=ViewRequest(crop, tiles="auto", keeps_aspect=keeps).resolve(frame, view.size),
    )
    rows, columns = more.grid
    count = rows * columns
    return (
        f"photos of {frame[1]}x{frame[0]} px are shrunk {times:.1f} times: a defect of {_DEFECT} "
        f"px has {_DEFECT / times:.1f} px for the network and may vanish. "
        f"--tiles {rows}x{columns} leaves it {_DEFECT / more.shrink(frame):.1f} px and takes "
        f"about {count / len(view.places):.0f} times as long for each frame"
    )
