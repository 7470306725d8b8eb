"""What nobody should judge: the belt, the clamps and the label of the plate."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgead.demo.station._drawing import (
    HEIGHT,
    WIDTH,
    Canvas,
    Floats,
    Image,
    Light,
    blurred,
    patches,
)
from edgead.demo.station._plate import OUTLINE

_RUBBER = (60.0, 56.0, 50.0)  # BGR
_LITTER = ((30, 28, 26), (170, 175, 178), (40, 90, 170), (160, 190, 205), (120, 80, 40))
_PAINT = ((70, 68, 66), (52, 60, 150), (150, 104, 60), (188, 190, 192))
_CLAMPS = tuple((x, y) for x in (400, 3600) for y in (950, 2050))  # their screws
_REACH, _JAW = 230, 300  # how far over the plate's edge, and the largest height
_LABEL = (2960, 900, 620, 360)  # middle, width and height
_MARGIN = 90  # of ignored regions: the plate moves, hands are not exact, and there are shadows
_STRIP = 110  # of the plate, where belt may be seen: it never lies quite alike


def ignored(canvas: Canvas) -> Image:
    """Return where clamps and label may be, uint8 ``[H, W]``, 255 there."""
    mask = np.zeros(canvas.size, np.uint8)
    x, y, wide, high = _LABEL
    boxes = [(x, y, wide / 2 + _MARGIN, high / 2 + _MARGIN)]
    boxes += [(x, y, _REACH + _MARGIN, _JAW / 2 + 1.6 * _MARGIN) for x, y in _CLAMPS]
    for x, y, half_width, half_height in boxes:
        mask[canvas.window(x - half_width, y - half_height, x + half_width, y + half_height)] = 255
    return mask


def add_belt(
    picture: Image, plate: Image, canvas: Canvas, light: Light, rng: np.random.Generator
) -> None:
    """Draw the belt around the plate: rubber, worn, with things that lie on it.

    Args:
        picture: uint8 ``[H, W, 3]`` BGR, changed in place.
        plate: uint8 ``[H, W]``, 255 on the plate.
        canvas: Of the frame.
        light: Of the frame.
        rng: Draws it.
    """
    height, width = canvas.size
    small = (height // 4, width // 4)
    worn = (
        1 + 0.2 * patches(small, small[1] // 11, rng) + 0.08 * patches(small, small[1] // 83, rng)
    )
    power = (0.55 + 0.45 * light.power) * rng.uniform(0.75, 1.35)
    rubber = np.asarray(worn[..., None] * np.multiply(_RUBBER, power), np.float32)
    for _ in range(int(rng.integers(3, 12))):
        _drop(rubber, rng)
    shadow = cv2.resize(plate, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(5 * canvas.scale, 0.8))
    rubber *= 1 - 0.6 / 255 * cv2.resize(shadow, small[::-1]).astype(np.float32)[..., None]
    belt = cv2.resize(np.clip(rubber, 0, 255).astype(np.uint8), (width, height))
    pitch = 14 * max(canvas.scale, 0.3)
    phases = rng.uniform(0, pitch, 2)
    down, across = (
        np.sin((np.arange(length) + phase) * (2 * np.pi / pitch)).astype(np.float32)
        for length, phase in zip(canvas.size, phases, strict=True)
    )
    left, top, right, bottom = OUTLINE
    for window in (
        canvas.window(0, 0, left + _STRIP, HEIGHT),
        canvas.window(right - _STRIP, 0, WIDTH, HEIGHT),
        canvas.window(left + _STRIP, 0, right - _STRIP, top + _STRIP),
        canvas.window(left + _STRIP, bottom - _STRIP, right - _STRIP, HEIGHT),
    ):
        weave = 1 + 0.10 * np.outer(down[window[0]], across[window[1]])
        _lay(picture[window], belt[window] * weave[..., None], 1 - _share(plate[window]))


def add_label(
    picture: Image, move: npt.NDArray[np.float64], canvas: Canvas, rng: np.random.Generator
) -> None:
    """Stick a paper label with a serial number on the plate, by hand: never quite in its place.

    Args:
        picture: uint8 ``[H, W, 3]`` BGR, changed in place.
        move: How the plate lies, as ``cv2.warpAffine`` takes it.
        canvas: Of the frame.
        rng: Draws it.
    """
    x, y, wide, high = _LABEL
    paper = _paper(rng)
    angle, offset = np.radians(rng.uniform(-2, 2)), rng.uniform(-12, 12, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    start = np.array((x, y)) + offset - turn @ (wide / 2, high / 2)
    local = np.vstack([np.column_stack([turn, start]) * canvas.scale, (0, 0, 1)])
    place = (np.vstack([move, (0, 0, 1)]) @ local)[:2]
    window = canvas.window(x - wide, y - high, x + wide, y + high)
    place[:, 2] -= window[1].start, window[0].start
    part = picture[window]
    size = part.shape[1::-1]
    cover = np.asarray(cv2.warpAffine(np.ones((high, wide), np.float32), place, size), np.float32)
    printed = cv2.warpAffine(blurred(paper, 0.4 / canvas.scale), place, size)
    _lay(part, np.zeros(3), 0.25 * blurred(cover, 6 * canvas.scale))
    _lay(part, printed, cover)


def add_clamps(picture: Image, canvas: Canvas, rng: np.random.Generator) -> None:
    """Let four jaws reach over the plate, each as the operator left it.

    Args:
        picture: uint8 ``[H, W, 3]`` BGR, changed in place.
        canvas: Of the frame.
        rng: Draws it.
    """
    for x, y in _CLAMPS:
        inwards = 1 if x < WIDTH / 2 else -1
        half, middle = rng.uniform(0.6, 1.0) * _JAW / 2, y + rng.uniform(-40, 40)
        tip, far = x + inwards * rng.uniform(0.35, 1.0) * _REACH, x - inwards * 700
        corners = [(far, -0.8), (tip - inwards * 60, -1), (tip, -0.6)]
        corners += [(at, -share) for at, share in reversed(corners)]
        points = np.array([(at, middle + share * half) for at, share in corners])
        points[:, 1] += rng.uniform(-0.06, 0.06) * (points[:, 0] - x)
        colour = np.multiply(_PAINT[int(rng.integers(len(_PAINT)))], rng.uniform(0.75, 1.25))
        _jaw(picture, points, (x, middle), colour, canvas, rng)


def _jaw(
    picture: Image,
    corners: npt.NDArray[np.float64],
    screw: tuple[float, float],
    colour: npt.NDArray[np.float64],
    canvas: Canvas,
    rng: np.random.Generator,
) -> None:
    x, y = screw
    window = canvas.window(x - 440, y - 320, x + 440, y + 320)
    part, scale = picture[window], canvas.scale
    start = np.array((window[1].start, window[0].start))

    def cover(shift: float, softness: float) -> Floats:
        points = np.rint((corners + shift) * scale - start).astype(np.int32)
        drawn = np.zeros(part.shape[:2], np.float32)
        cv2.fillPoly(drawn, [points], 1.0, cv2.LINE_AA)
        return blurred(drawn, softness * scale)

    _lay(part, np.zeros(3), 0.5 * cover(22, 12))
    jaw = cover(0, 1)
    shade = 1 + 1.4 * (blurred(jaw, 14 * scale) - 0.9) * jaw
    worn = 1 + 0.05 * patches(part.shape[:2], int(60 * scale), rng)
    _lay(part, (shade * worn)[..., None] * colour, jaw)
    middle = np.rint(np.array(screw) * scale - start).astype(int).tolist()
    for radius, level in ((46, 98), (23, 25)):
        cv2.circle(part, middle, max(1, round(radius * scale)), (level,) * 3, -1, cv2.LINE_AA)


def _paper(rng: np.random.Generator) -> Floats:
    _, _, wide, high = _LABEL
    paper = np.full((high, wide, 3), rng.integers(208, 240), np.uint8)
    serial = "".join(str(digit) for digit in rng.integers(0, 10, 10))
    font, ink = cv2.FONT_HERSHEY_DUPLEX, (48, 42, 40)
    cv2.putText(paper, f"S/N {serial}", (30, 70), font, 1.9, ink, 4, cv2.LINE_AA)
    cv2.putText(paper, f"LOT {serial[3:7]}  {serial[1]}A", (30, 130), font, 1.4, ink, 3)
    at = 30
    while at < wide - 40:
        bar, gap = rng.integers(4, 14, 2)
        paper[160 : high - 30, at : at + bar] = ink
        at += int(bar + gap)
    return paper.astype(np.float32)


def _drop(rubber: Floats, rng: np.random.Generator) -> None:
    """Chips, chalk and oil, at the sides that the plate leaves free."""
    height, width = rubber.shape[:2]
    side = rng.uniform(0, 0.1) if rng.random() < 0.5 else rng.uniform(0.9, 1)
    place = (int(side * width), int(rng.uniform(0, height)))
    radius = rng.uniform(0.004, 0.03) * width
    axes = (int(radius) + 1, int(radius * rng.uniform(0.2, 0.9)) + 1)
    colour = np.multiply(_LITTER[int(rng.integers(len(_LITTER)))], rng.uniform(0.7, 1.3))
    cv2.ellipse(rubber, place, axes, rng.uniform(0, 180), 0, 360, colour.tolist(), -1, cv2.LINE_AA)


def _share(mask: Image) -> Floats:
    return np.asarray(mask / 255, np.float32)


def _lay(part: Image, over: npt.ArrayLike, share: Floats) -> None:
    """Lay something over a part of a picture, by its share of each pixel."""
    mixed = part + (np.asarray(over, np.float32) - part) * share[..., None]
    part[...] = np.clip(np.rint(mixed), 0, 255)
