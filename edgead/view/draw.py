"""A picture of what a detector will see of a photo: crop, mask, tiles, and a defect's size."""

from __future__ import annotations

import cv2
import numpy as np

from edgead.images import Image
from edgead.view.view import View

_WIDEST = 1600  # px of the picture's longer side
_LINE_BGR, _CROP_BGR, _IGNORED_BGR = (0, 210, 255), (255, 255, 255), (60, 60, 230)
_DEFECT_BGR = (0, 230, 0)
_OUTSIDE = 0.35  # share of the brightness that what is not judged keeps
_TINT = 0.5


def on_photo(photo: Image, view: View, defect: int) -> Image:
    """Draw a view over a photo.

    What the crop leaves out is dark, ignored regions are red, windows have yellow frames, and a
    green square has the size of a defect.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR.
        view: What of it is judged.
        defect: Side of a defect in pixels of the photo.

    Returns:
        uint8 BGR, its longer side at most 1600 px.
    """
    height, width = photo.shape[:2]
    scale = min(1.0, _WIDEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    picture = outlined(small, view)
    left, top, across, down = view.crop((picture.shape[0], picture.shape[1]))
    side = max(1, round(defect * scale))
    middle = left + across // 2, top + down // 2
    corner = middle[0] + side, middle[1] + side
    cv2.rectangle(picture, middle, corner, _DEFECT_BGR, -1)
    cv2.circle(picture, (middle[0] + side // 2, middle[1] + side // 2), side + 12, _DEFECT_BGR, 2)
    return picture


def outlined(photo: Image, view: View) -> Image:
    """Show on a photo of any size what is judged of it: crop, ignored regions and windows.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR.
        view: What of it is judged.

    Returns:
        A new picture of its size.
    """
    height, width = photo.shape[:2]
    left, top, across, down = view.crop((height, width))
    rows, columns = slice(top, top + down), slice(left, left + across)
    picture = (photo * _OUTSIDE).astype(np.uint8)
    picture[rows, columns] = photo[rows, columns]
    if view.ignored is not None:
        x, y, inner_across, inner_down = view.content
        inside = view.ignored[y : y + inner_down, x : x + inner_across].astype(np.uint8)
        covered = cv2.resize(inside, (across, down), interpolation=cv2.INTER_NEAREST) > 0
        part = picture[rows, columns]
        part[covered] = part[covered] * (1 - _TINT) + np.array(_IGNORED_BGR) * _TINT
    thickness = max(1, round(max(height, width) / _WIDEST))
    if view.grid != (1, 1):
        for index, (x, y, box_width, box_height) in enumerate(view.boxes((height, width))):
            inset = index % 2 * 2 * thickness  # so that neighbours are told apart
            first = x + inset, y + inset
            last = x + box_width - 1 - inset, y + box_height - 1 - inset
            cv2.rectangle(picture, first, last, _LINE_BGR, thickness)
    cv2.rectangle(picture, (left, top), (left + across - 1, top + down - 1), _CROP_BGR, thickness)
    return np.asarray(picture, np.uint8)


def described(view: View, frame: tuple[int, int], defects: tuple[int, ...]) -> list[str]:
    """Say what a view makes of a frame, one sentence a line.

    Args:
        view: What of the frame is judged.
        frame: ``(height, width)`` of the frame in pixels.
        defects: Sides of defects in pixels of the frame.
    """
    _, _, width, height = view.crop(frame)
    rows, columns = view.grid
    _, _, box_width, box_height = view.boxes(frame)[0]
    times = view.shrink(frame)
    lines = [f"judged: {width}x{height} px of {frame[1]}x{frame[0]} px"]
    if view.ignored is not None:
        inside = view.ignored.mean()
        lines.append(f"not judged of that: {inside:.0%} (mask, or beside a kept aspect ratio)")
    lines.append(
        f"windows: {rows}x{columns}"
        + (f", of which {len(view.places)} are judged" if len(view.places) < rows * columns else "")
        + f", each {box_width}x{box_height} px of the photo in {view.size[1]}x{view.size[0]} px"
    )
    sizes = ", ".join(f"{defect} px become {defect / times:.1f}" for defect in defects)
    lines.append(f"a pixel of the network is {times:.1f} px of the photo: defects of {sizes} px")
    return lines
