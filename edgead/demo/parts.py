"""A small inspection task to try everything on: rendered photos of a turned metal flange.

Each photo is rendered from a surface (height, reflectance) under a lamp: a disc faced on a lathe,
with a bore and six bolt holes, on a belt. Lighting, position, angle, framing, tool marks and
sensor noise change from photo to photo. Defects are made in the surface before it is lit, and
their masks follow from what they changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgead import files
from edgead.errors import EdgeadError, UsageError
from edgead.progress import progress

Floats = npt.NDArray[np.float32]

TRAIN, TEST_GOOD, TEST_EACH = 60, 20, 8
_RADIUS, _BORE, _BOLT_CIRCLE, _BOLT = 0.40, 0.115, 0.275, 0.042  # in heights of the photo
_BOLTS = 6
_CHAMFER = 0.012
_CENTRE_DRILL = 0.014
_FACE_TINT = np.array((0.97, 1.0, 1.02), np.float32)  # BGR: slightly warm steel
_BELT = np.array((58, 52, 44), np.float32)  # BGR: blue-grey rubber


@dataclass
class _Surface:
    """What is lit. All arrays float32 ``[H, W]``; lengths in heights of the photo.

    Attributes:
        x: Distance right of the part's centre.
        y: Distance below it.
        angle: Angle of the bolt pattern, in radians.
        metal: Share of each pixel that is metal, 0..1.
        depth: How dark a hole is at each pixel, 0..1.
        height: Height of the metal's surface.
        reflectance: Reflectance of the metal, 1 for clean steel.
        gloss: How much of a highlight it gives, 1 for clean steel.
    """

    x: Floats
    y: Floats
    angle: float
    metal: Floats
    depth: Floats
    height: Floats
    reflectance: Floats
    gloss: Floats


Defect = Callable[[_Surface, np.random.Generator], Floats]
"""Change the surface; return how strongly each pixel was changed, 0..1."""


def write_parts(root: Path, seed: int = 0) -> Path:
    """Write the task as a data set in MVTec AD layout, with masks.

    Args:
        root: The folder to make; it appears whole or not at all.
        seed: The same seed gives the same photos.

    Returns:
        ``root``.

    Raises:
        UsageError: ``root`` exists.
    """
    if root.exists():
        raise UsageError(f"{root} already exists; choose another folder")
    jobs: list[tuple[str, str, Defect | None]] = []
    jobs += [("train", "good", None)] * TRAIN + [("test", "good", None)] * TEST_GOOD
    for name, painter in DEFECTS.items():
        jobs += [("test", name, painter)] * TEST_EACH
    with files.scratch_folder(root.parent) as scratch:
        made = scratch / root.name
        counts: dict[tuple[str, str], int] = {}
        for index, job in enumerate(progress(jobs, total=len(jobs), label="rendering parts")):
            subset, kind, defect = job
            number = counts[subset, kind] = counts.get((subset, kind), -1) + 1
            photo, mask = render(np.random.default_rng([seed, 20, index]), defect)
            _write(made / subset / kind / f"{number:03}.png", photo)
            if defect is not None:
                _write(made / "ground_truth" / kind / f"{number:03}_mask.png", mask)
        made.rename(root)
    return root


def render(
    rng: np.random.Generator, defect: Defect | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Render one part.

    Args:
        rng: Draws everything that changes from photo to photo.
        defect: One of :data:`DEFECTS`, or ``None`` for a good part.

    Returns:
        A photo uint8 ``[H, W, 3]`` BGR, not square, and its mask uint8 ``[H, W]``, 255 where the
        part is defective.
    """
    surface = _good_surface(rng)
    changed = np.zeros_like(surface.x) if defect is None else defect(surface, rng)
    photo = _light(surface, rng)
    return photo, np.where(changed > 0.25, 255, 0).astype(np.uint8)


def _good_surface(rng: np.random.Generator) -> _Surface:
    height, width = int(rng.integers(440, 481)), int(rng.integers(540, 601))
    centre = np.array((width, height)) / 2 + rng.normal(0, 0.008 * height, 2)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (columns - centre[0]) / height, (rows - centre[1]) / height
    radius = np.hypot(x, y)
    angle = float(rng.normal(0, np.radians(2.5)))
    pixel = 1 / height

    outside = _RADIUS - radius  # signed distances, positive inside the metal
    holes = [radius - _BORE]
    holes += [np.hypot(x - px, y - py) - _BOLT for px, py in _bolt_places(angle)]
    hole = np.minimum.reduce(holes)
    edge = np.minimum(outside, hole)
    chamfer = np.clip(edge, 0, _CHAMFER)
    marks = _tool_marks(radius, rng)
    return _Surface(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        angle=angle,
        metal=_ramp(edge, pixel),
        depth=_ramp(-hole, pixel) * _ramp(outside, pixel),
        height=(chamfer + marks).astype(np.float32),
        reflectance=np.ones_like(x, np.float32),
        gloss=np.ones_like(x, np.float32),
    )


def _bolt_places(angle: float) -> list[tuple[float, float]]:
    angles = angle + 2 * np.pi * np.arange(_BOLTS) / _BOLTS
    return [(_BOLT_CIRCLE * float(np.cos(a)), _BOLT_CIRCLE * float(np.sin(a))) for a in angles]


def _tool_marks(radius: Floats, rng: np.random.Generator) -> Floats:
    """Rings that the lathe left: a feed with a steady pitch and uneven depth."""
    steps = 600
    pitch = rng.uniform(0.0105, 0.0115)
    at = np.linspace(0, 0.6, steps)
    wave = np.sin(2 * np.pi * at / pitch + rng.uniform(0, 2 * np.pi))
    uneven = np.convolve(rng.normal(0, 1, steps), np.ones(5) / 5, "same")
    profile = (1e-4 * wave + 1.6e-4 * uneven).astype(np.float32)
    return np.interp(radius.ravel(), at, profile).reshape(radius.shape).astype(np.float32)


def _light(surface: _Surface, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    height, width = surface.x.shape
    lamp_angle = np.radians(-50) + rng.normal(0, np.radians(6))
    lamp = np.array((np.cos(lamp_angle), np.sin(lamp_angle)), np.float32)
    power, ambient = rng.uniform(0.88, 1.08), rng.uniform(0.32, 0.38)

    slope_y, slope_x = np.gradient(surface.height, 1 / height)
    facing = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    towards = (-(slope_x * lamp[0] + slope_y * lamp[1]) * 0.75 + 0.66) * facing
    diffuse = np.clip(towards, 0, 1.6)
    # Rings reflect a lamp as two opposite fans (Ward's anisotropic highlight, simplified).
    radius = np.maximum(np.hypot(surface.x, surface.y), 1e-3)
    along = (-surface.y * lamp[0] + surface.x * lamp[1]) / radius
    fan = np.exp(-((along / 0.35) ** 2)) * surface.gloss
    metal = surface.reflectance * (ambient + power * (0.48 * diffuse + 0.24 * fan * facing))

    belt = _belt((height, width), rng) * (0.55 + 0.45 * power)
    metal_mask = cv2.GaussianBlur(np.maximum(surface.metal, surface.depth), (0, 0), 9)
    offset = np.array([[1, 0, -9 * lamp[0]], [0, 1, -9 * lamp[1]]], np.float32)
    shadow = cv2.warpAffine(metal_mask, offset, (width, height))
    belt = belt * (1 - 0.55 * shadow[..., None])
    inside = belt * 0.28  # down a hole one sees the belt in shade
    metal_colour = 205 * metal[..., None] * _FACE_TINT
    picture = belt * (1 - surface.depth[..., None]) + inside * surface.depth[..., None]
    picture = picture * (1 - surface.metal[..., None]) + metal_colour * surface.metal[..., None]

    fall_off = 1 + 0.10 * (surface.x * lamp[0] + surface.y * lamp[1])
    picture = cv2.GaussianBlur(picture * fall_off[..., None], (0, 0), rng.uniform(0.55, 0.75))
    picture = picture + rng.normal(0, 2.2, (height, width, 1)) + rng.normal(0, 0.9, picture.shape)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _belt(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Rubber with a woven texture and faint wear."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    shift = rng.uniform(0, 9, 2)
    weave = np.sin(2 * np.pi * (rows + shift[0]) / 9) * np.sin(2 * np.pi * (columns + shift[1]) / 9)
    wear = _noise(size, 40, rng)
    return np.asarray(_BELT * (1 + 0.10 * weave + 0.10 * wear)[..., None], np.float32)


def _noise(size: tuple[int, int], grain: int, rng: np.random.Generator) -> Floats:
    """Smooth noise with features of about ``grain`` pixels, deviation about one."""
    coarse = rng.normal(0, 1, (size[0] // grain + 3, size[1] // grain + 3)).astype(np.float32)
    whole = (size[1] + 2 * grain, size[0] + 2 * grain)
    fine = cv2.resize(coarse, whole, interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[grain : grain + size[0], grain : grain + size[1]] * 1.3, np.float32)


def _ramp(distance: Floats, width: float) -> Floats:
    """0 where a signed distance is negative, 1 where positive, smooth over a pixel's width."""
    return np.asarray(np.clip(distance / width + 0.5, 0, 1), np.float32)


def _place_on_face(
    surface: _Surface, rng: np.random.Generator, margin: float
) -> tuple[float, float]:
    """Draw a point of the flat face at least ``margin`` from every edge."""
    while True:
        radius = rng.uniform(_BORE + margin, _RADIUS - margin)
        angle = rng.uniform(0, 2 * np.pi)
        px, py = float(radius * np.cos(angle)), float(radius * np.sin(angle))
        near = min(float(np.hypot(px - bx, py - by)) for bx, by in _bolt_places(surface.angle))
        if near > _BOLT + margin:
            return px, py


def _scratch(surface: _Surface, rng: np.random.Generator) -> Floats:
    """A groove with raised lips along a slightly bent line."""
    px, py = _place_on_face(surface, rng, 0.03)
    heading, length = rng.uniform(0, np.pi), rng.uniform(0.10, 0.22)
    along = (surface.x - px) * np.cos(heading) + (surface.y - py) * np.sin(heading)
    across = -(surface.x - px) * np.sin(heading) + (surface.y - py) * np.cos(heading)
    across = across - rng.uniform(-1.2, 1.2) * along**2
    width = rng.uniform(0.0032, 0.0045)
    taper = _ramp(length / 2 - np.abs(along), 0.02)
    groove = np.exp(-((across / width) ** 2)) * taper * surface.metal
    lips = np.exp(-(((np.abs(across) - 1.6 * width) / (0.7 * width)) ** 2)) * taper * surface.metal
    surface.height += (-0.0030 * groove + 0.0011 * lips).astype(np.float32)
    surface.reflectance *= (1 + 0.35 * lips - 0.30 * groove).astype(np.float32)
    return (_ramp(2.2 * width - np.abs(across), width) * taper * surface.metal).astype(np.float32)


def _dent(surface: _Surface, rng: np.random.Generator) -> Floats:
    """A knock: a bowl with a raised rim."""
    size = rng.uniform(0.020, 0.032)
    px, py = _place_on_face(surface, rng, 1.2 * size)
    stretch, heading = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    along = (surface.x - px) * np.cos(heading) + (surface.y - py) * np.sin(heading)
    across = -(surface.x - px) * np.sin(heading) + (surface.y - py) * np.cos(heading)
    distance = np.hypot(along, across / stretch) / size
    bowl = np.exp(-((distance / 0.62) ** 2))
    rim = np.exp(-(((distance - 1.0) / 0.22) ** 2))
    flat = np.exp(-((distance / 0.8) ** 4))  # the knock erased the tool marks
    surface.height += ((-0.42 * bowl + 0.07 * rim) * size * surface.metal).astype(np.float32)
    surface.gloss *= (1 - 0.6 * flat).astype(np.float32)
    return (_ramp(1.15 - distance, 0.1) * surface.metal).astype(np.float32)


def _missing_hole(surface: _Surface, rng: np.random.Generator) -> Floats:
    """One bolt hole was centre-drilled and then forgotten."""
    px, py = _bolt_places(surface.angle)[int(rng.integers(_BOLTS))]
    distance = np.hypot(surface.x - px, surface.y - py)
    covered = _ramp(_BOLT + _CHAMFER + 0.002 - distance, 1 / surface.x.shape[0])
    radius = np.hypot(surface.x, surface.y)
    whole = np.float32(_CHAMFER) + _tool_marks(radius, rng)
    surface.metal = np.maximum(surface.metal, covered)
    surface.depth = surface.depth * (1 - covered)
    start = _CENTRE_DRILL * np.exp(-((distance / _CENTRE_DRILL) ** 4))
    surface.height = (surface.height * (1 - covered) + (whole - start) * covered).astype(np.float32)
    surface.reflectance *= (1 - 0.75 * _ramp(_CENTRE_DRILL - distance, 0.004)).astype(np.float32)
    return covered


def _stain(surface: _Surface, rng: np.random.Generator) -> Floats:
    """Oil or rust: an irregular film that darkens, warms and dulls the face."""
    size = rng.uniform(0.035, 0.06)
    px, py = _place_on_face(surface, rng, 0.02)
    wobble = _noise((surface.x.shape[0], surface.x.shape[1]), 22, rng)
    distance = np.hypot(surface.x - px, surface.y - py) / size + 0.28 * wobble
    film = _ramp(1 - distance, 0.25) * surface.metal
    surface.reflectance *= (1 - rng.uniform(0.30, 0.45) * film).astype(np.float32)
    surface.gloss *= (1 - 0.8 * film).astype(np.float32)
    return film


DEFECTS: dict[str, Defect] = {
    "dent": _dent,
    "missing_hole": _missing_hole,
    "scratch": _scratch,
    "stain": _stain,
}


def _write(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise EdgeadError(f"OpenCV cannot encode the picture for {path}")
    files.write_bytes(path, encoded.tobytes())
