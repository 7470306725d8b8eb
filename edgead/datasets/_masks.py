"""Masks of defects: which photo one belongs to, and which of its pixels are marked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.datasets._photo import Photo
from edgead.errors import DataError, ImageError

Mask = npt.NDArray[np.bool_]

_WORD = r"(?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|annotations?)"
_BEHIND = re.compile(rf"[ ._-]+{_WORD}$", re.IGNORECASE)
_IN_FRONT = re.compile(rf"^{_WORD}[ ._-]+", re.IGNORECASE)

_MOST_MARKED = 0.5
_BORDER_MARKED = 0.95


def match(
    photos: Sequence[Path], folder: Path, masks: Sequence[Path], truth: Path
) -> tuple[dict[Path, tuple[Path, ...]], list[Path]]:
    """Find the masks of photos by their names.

    ``000_mask.png``, ``000.png``, ``mask_000.png`` and the like are the mask of ``000.jpg`` in the
    same sub-folder; all files in a folder ``000`` are masks of it together (MVTec LOCO AD).

    Args:
        photos: Photos of one kind.
        folder: Where they lie, ``test/<kind>``.
        masks: Image files.
        truth: Where those lie, ``ground_truth/<kind>``.

    Returns:
        Masks by photo, and masks that belong to no photo.

    Raises:
        DataError: Two masks claim the same photo by their names.
    """
    named: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for photo in photos:
        inside = photo.relative_to(folder).parent
        for name in {photo.stem, photo.name}:
            named[inside, name].append(photo)

    def of(inside: Path, name: str) -> list[Path]:
        return next((named[key] for n in _names(name) if (key := (inside, n)) in named), [])

    alone: dict[Path, Path] = {}
    found: dict[Path, tuple[Path, ...]] = {}
    unmatched = []
    for mask in masks:
        inside = mask.relative_to(truth).parent
        by_name = of(inside, mask.stem)
        by_folder = of(inside.parent, inside.name) if inside.name and not by_name else []
        for photo in by_name:
            if photo in alone:
                raise DataError(
                    f"both {alone[photo]} and {mask} are named as masks of {photo}: remove one, or "
                    f"put both into the folder {truth / inside / photo.stem} if they mark the "
                    "defect together"
                )
            alone[photo] = mask
        for photo in [*by_name, *by_folder]:
            found[photo] = (*found.get(photo, ()), mask)
        if not by_name and not by_folder:
            unmatched.append(mask)
    return found, unmatched


def photo_name(mask: Path) -> str:
    """Return the likeliest name, without its suffix, of the photo that a mask belongs to."""
    return list(_names(mask.stem))[-1]


def _names(name: str) -> Iterator[str]:
    """Yield what a photo may be called whose mask has this name, the name itself first."""
    yield name
    while (shorter := _BEHIND.sub("", name)) not in (name, ""):
        name = shorter
        yield name
    while (shorter := _IN_FRONT.sub("", name)) not in (name, ""):
        name = shorter
        yield name


def read_mask(photo: Photo, size: tuple[int, int]) -> Mask | None:
    """Read which pixels of a test photo are defective.

    Any value above 0 in any colour counts, as in MVTec's own evaluation code, of 16 bits too:
    annotation tools write 1, 2, 3 for their labels. Compression that loses detail (JPEG, WebP)
    leaves values around every edge, so there half of the highest value counts. Transparent pixels
    are not marked, and where all colours are alike the shape is that of the opaque ones.

    Args:
        photo: The photo; a good one has an empty mask.
        size: The photo's ``(height, width)`` in pixels.

    Returns:
        bool ``[height, width]``, or ``None`` for a defective photo of which nothing is marked.

    Raises:
        DataError: A mask cannot be read or has another size, or marks something on a good photo;
            names both.
    """
    marked = np.zeros(size, np.bool_)
    for path in photo.masks:
        mask = marked_pixels(path)
        if mask.shape != size:
            raise DataError(
                f"the mask {path} is {mask.shape[1]}x{mask.shape[0]} px, but its photo "
                f"{photo.path} is {size[1]}x{size[0]} px"
            )
        marked |= mask
    if not photo.is_anomalous:
        _refuse_marks(photo, bool(marked.any()))
    return marked if marked.any() or not photo.is_anomalous else None


def doubts(photos: Sequence[Photo]) -> list[str]:
    """Say which masks a person should look at: those that mark nothing or nearly everything.

    Raises:
        DataError: A mask cannot be read, or marks something on a good photo.
    """
    empty, inverted = [], []
    for photo in photos:
        masks = [marked_pixels(path) for path in photo.masks]
        if not photo.is_anomalous:
            _refuse_marks(photo, any(mask.any() for mask in masks))
            continue
        inverted += [
            path for path, mask in zip(photo.masks, masks, strict=True) if _is_inverted(mask)
        ]
        if masks and not any(mask.any() for mask in masks):
            empty.append(photo.masks[0])
    found = []
    if empty:
        found.append(
            f"{len(empty)} masks of defective photos are empty (every value is 0), for example "
            f"{empty[0]}: pixel metrics leave their photos out"
        )
    if inverted:
        found.append(
            f"{len(inverted)} masks mark more than half of their photo and its border, for example "
            f"{inverted[0]}: check that defects are white and the rest is black"
        )
    return found


def marked_pixels(path: Path) -> Mask:
    """Read which pixels one mask marks, see :func:`read_mask`.

    Returns:
        bool ``[height, width]``.

    Raises:
        DataError: It cannot be read.
    """
    try:
        stored = images.read_stored(path)
        loses_detail = _loses_detail(path)
    except (ImageError, OSError) as error:
        raise DataError(f"a mask cannot be used: {error}") from error
    if stored.ndim == 3 and stored.shape[2] == 4:
        return _within_alpha(stored)
    highest = stored if stored.ndim == 2 else stored.max(2)
    return np.asarray(highest > (highest.max() / 2 if loses_detail else 0))


def _within_alpha(bgra: npt.NDArray[Any]) -> Mask:
    colour, opaque = bgra[..., :3], bgra[..., 3] > 0
    is_one_colour = bool((colour == colour[0, 0]).all())
    if is_one_colour and opaque.any() and not opaque.all():
        return np.asarray(opaque)
    marked = (colour > 0).any(2)
    return np.asarray(marked & opaque if opaque.any() else marked)  # some BMPs have no alpha in it


def _loses_detail(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(4096)
    return start.startswith(b"\xff\xd8\xff") or (start[:4] == b"RIFF" and b"VP8 " in start)


def _is_inverted(mask: Mask) -> bool:
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > _MOST_MARKED and border.mean() > _BORDER_MARKED)


def _refuse_marks(photo: Photo, has_marks: bool) -> None:
    if has_marks:
        raise DataError(
            f"{photo.path} is among the good photos, but its mask {photo.masks[0]} marks a defect: "
            "move the photo to its kind of defect or remove the mask"
        )
