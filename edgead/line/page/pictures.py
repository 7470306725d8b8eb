"""JPEGs for the page: encoded only when asked for, and seldom."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace

import cv2
import numpy as np

from edgead.contrast import Box
from edgead.detection import Detection
from edgead.errors import EdgeadError
from edgead.images import Image, as_bgr
from edgead.line.verdict import Judged

LEAST_BETWEEN_S = 0.5
"""A newer live picture is not made sooner than this after the last one, for all who look."""

LARGEST_SIDE = 480
SMALL_SIDE = 240
_QUALITY = 80
_MOST_KEPT = 64


class Pictures:
    """The newest picture of each station, and small ones of rejected frames."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, bool], tuple[float, int, bytes]] = {}
        self._small: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def live(self, judged: Judged, heat: bool) -> tuple[int, bytes]:
        """Return a JPEG and the number of its verdict; it may be older than the one given.

        Args:
            judged: The newest verdict, with a picture.
            heat: Whether the heat map and the regions are drawn over it.
        """
        key = judged.verdict.station, heat
        now = time.monotonic()
        made = self._live.get(key)
        if made is not None:
            at, number, data = made
            if number == judged.verdict.number or now - at < LEAST_BETWEEN_S:
                return number, data
        data = _jpeg(judged, heat, LARGEST_SIDE)
        self._live[key] = now, judged.verdict.number, data
        return judged.verdict.number, data

    def small(self, judged: Judged) -> bytes:
        """Return a small JPEG of a rejected frame; it is kept for the next who asks."""
        key = judged.verdict.station, judged.verdict.number
        data = self._small.get(key)
        if data is None:
            data = _jpeg(judged, True, SMALL_SIDE)
            self._small[key] = data
            if len(self._small) > _MOST_KEPT:
                self._small.popitem(last=False)
        return data


def _jpeg(judged: Judged, heat: bool, side: int) -> bytes:
    assert judged.picture is not None
    picture = _fitted(as_bgr(judged.picture), side)
    if heat and judged.detection is not None:
        picture = _fitted_detection(judged.detection, picture.shape[:2]).overlay(picture)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise EdgeadError("OpenCV cannot encode a picture as JPEG")
    return encoded.tobytes()


def _fitted(picture: Image, side: int) -> Image:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fitted_detection(detection: Detection, size: tuple[int, int]) -> Detection:
    """Return what was found in a frame as if it had been a smaller one.

    The overlay of a whole frame of a large camera would take a core for a tenth of a second.
    """
    down, across = (new / old for new, old in zip(size, detection.photo_size, strict=True))
    blank = tuple(replace(one, box=_scaled(one.box, across, down)) for one in detection.blank)
    return replace(detection, photo_size=size, blank=blank)


def _scaled(box: Box, across: float, down: float) -> Box:
    x, y, width, height = box
    right, bottom = round((x + width) * across), round((y + height) * down)
    left, top = round(x * across), round(y * down)
    return left, top, max(1, right - left), max(1, bottom - top)
