"""One picture of a detector's worst errors, or of its closest calls where it made none."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from edgead import files, images, own_pictures
from edgead.datasets import Photo, read_mask
from edgead.errors import UsageError
from edgead.evaluation import Detect, Evaluation, Judged
from edgead.printable import printable

_TILE = 260
_CAPTION = 46
_GAP = 12
_COLUMNS = 6
_BACKGROUND = (250, 250, 250)
_TEXT = (40, 40, 40)
_TRUTH = (80, 200, 80)


def contact_sheet(evaluation: Evaluation, detect: Detect, path: str | os.PathLike[str]) -> None:
    """Draw the worst misses and the worst false alarms, each with its heat map.

    The marked defect is outlined in green, what the detector found in white.

    Args:
        evaluation: Evaluation of the same detector.
        detect: Scores the photos drawn once more, for their maps.
        path: Picture to write, ``.png`` or ``.jpg``.

    Raises:
        UsageError: OpenCV cannot write that kind of file.
    """
    strips = []
    for title, entries in _chosen(evaluation):
        tiles = [_tile(entry, detect, evaluation.threshold) for entry in entries]
        strips.append(_strip(title, tiles))
    sheet = np.concatenate(strips)
    require_picture_name(path)
    suffix = Path(path).suffix
    encoded = cv2.imencode(suffix, sheet)[1].tobytes()
    files.write_bytes(path, own_pictures.marked(encoded) if suffix.lower() == ".png" else encoded)


def require_picture_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name that no picture can be written to, before hours of work for it.

    Raises:
        UsageError: OpenCV cannot write that kind of file.
    """
    if not Path(path).suffix or not cv2.haveImageWriter(os.fspath(path)):
        raise UsageError(f"cannot write a picture to {path}: use a name that ends in .png or .jpg")


def outline_truth(small: images.Image, photo: Photo, size: tuple[int, ...]) -> None:
    """Outline the marked defect in green.

    Args:
        small: The photo or its overlay, scaled to any size; drawn into.
        photo: Where the mask is; nothing is drawn where there is none.
        size: ``(height, width)`` of the photo in pixels.

    Raises:
        DataError: The mask cannot be read or does not fit the photo.
    """
    mask = read_mask(photo, (size[0], size[1])) if photo.masks else None
    if mask is None:
        return
    scaled = cv2.resize(
        mask.astype(np.uint8), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA
    )
    outlines, _ = cv2.findContours(scaled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(small, outlines, -1, _TRUTH, 1, cv2.LINE_AA)


def _chosen(evaluation: Evaluation) -> list[tuple[str, list[Judged]]]:
    """Pick up to six of each kind, worst first."""
    defects = sorted((e for e in evaluation.judged if e.photo.is_anomalous), key=lambda e: e.score)
    good = sorted(
        (e for e in evaluation.judged if not e.photo.is_anomalous), key=lambda e: -e.score
    )
    chosen = []
    for entries, wrong, right in (
        (
            defects,
            "missed defects, worst first",
            "no missed defects; the lowest scores of defective photos",
        ),
        (good, "false alarms, worst first", "no false alarms; the highest scores of good photos"),
    ):
        if not entries:
            continue
        errors = [entry for entry in entries if entry.is_wrong]
        title = f"{len(errors)} {wrong}" if errors else right
        chosen.append((title, (errors or entries)[:_COLUMNS]))
    return chosen


def _tile(entry: Judged, detect: Detect, threshold: float) -> images.Image:
    """Photo above its overlay, with a caption."""
    photo = images.read_image(entry.photo.path)
    overlay = detect(photo).overlay(photo)
    tile = np.full((2 * _TILE + _CAPTION, _TILE, 3), _BACKGROUND, np.uint8)
    for row, picture in enumerate((photo, overlay)):
        small = _fitted(picture)
        outline_truth(small, entry.photo, photo.shape[:2])
        top = row * _TILE + (_TILE - small.shape[0]) // 2
        left = (_TILE - small.shape[1]) // 2
        tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    name = f"{entry.photo.kind}/{entry.photo.path.name}"
    caption = f"score {entry.score:.3f}, threshold {threshold:.3f}"
    for line, text in enumerate((name, caption)):
        _write(tile, text, (2, 2 * _TILE + 17 + 20 * line), 0.45)
    return tile


def _fitted(picture: images.Image) -> images.Image:
    scale = (_TILE - 4) / max(picture.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in picture.shape[:2])
    return np.array(images.resize(picture, (size[0], size[1])), np.uint8)


def _strip(title: str, tiles: list[images.Image]) -> images.Image:
    height = 34 + 2 * _TILE + _CAPTION + _GAP
    strip = np.full((height, _GAP + _COLUMNS * (_TILE + _GAP), 3), _BACKGROUND, np.uint8)
    _write(strip, title, (_GAP, 24), 0.6)
    for column, tile in enumerate(tiles):
        left = _GAP + column * (_TILE + _GAP)
        strip[34 : 34 + tile.shape[0], left : left + _TILE] = tile
    return strip


def _write(picture: images.Image, text: str, at: tuple[int, int], scale: float) -> None:
    # OpenCV's fonts have no other letters.
    readable = printable(text).encode("ascii", "replace").decode()
    cv2.putText(picture, readable, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)
