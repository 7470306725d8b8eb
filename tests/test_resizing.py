from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgead import images, resizing
from edgead.errors import UsageError
from edgead.resizing import AREA, HALVED, METHODS


def weights(length: int, target: int, step: int) -> np.ndarray:
    """One row for each output row, in 1/256: the rule in exact fractions."""
    rows = math.ceil(length / step)
    table = np.zeros((target, rows), np.int64)
    if length >= target:
        edges = [
            min(
                math.floor(Fraction(row * step * target, length) * 256 + Fraction(1, 2)),
                256 * target,
            )
            for row in range(rows + 1)
        ]
        for row in range(rows):
            for unit in range(edges[row], edges[row + 1]):
                table[unit // 256, row] += 1
        return table
    for row in range(target):
        centre = Fraction((2 * row + 1) * length, 2 * target) - Fraction(1, 2)
        first, part = divmod(math.floor(centre * 256 + Fraction(1, 2)), 256)
        for at, weight in ((first, 256 - part), (first + 1, part)):
            table[row, min(max(at, 0), length - 1)] += weight
    return table


def in_integers(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``edgead 1`` without OpenCV: sums of integers, which no processor rounds."""
    small, step = photo.astype(np.int64), 1
    while all(
        length >= 2 * step * target for length, target in zip(photo.shape, size, strict=False)
    ):
        even = [(0, length % 2) for length in small.shape[:2]] + [(0, 0)] * (photo.ndim - 2)
        small = np.pad(small, even, "edge")
        small = (small[::2, ::2] + small[::2, 1::2] + small[1::2, ::2] + small[1::2, 1::2] + 2) // 4
        step *= 2
    columns, rows = (weights(photo.shape[axis], size[axis], step) for axis in (1, 0))
    small = (np.einsum("rc...,oc->ro...", small, columns) + 128) // 256
    return (np.einsum("rc...,or->oc...", small, rows) + 128) // 256


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((270, 480), (64, 64)),  # halved to where it needs no more halving
        ((128, 256), (64, 128)),  # nothing left to do
        ((255, 301), (64, 64)),  # odd sides
        ((259, 521), (32, 32)),  # odd at every step
        ((75, 100), (64, 64)),  # not halved
        ((40, 300), (64, 48)),  # one side grows
        ((30, 40), (64, 48)),
        ((700, 33), (32, 32)),  # a long photo: many pixels for one
        ((600, 50), (400, 40)),  # rows for more than two strips
        ((1, 1), (3, 2)),
        ((5, 1), (1, 1)),
    ],
)
def test_bytes_are_those_of_integers(shape: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (shape[0] + 9, shape[1] + 7, 3), np.uint8)
    crop = whole[4 : 4 + shape[0], 5 : 5 + shape[1]]
    for photo in (crop, crop[..., 1].copy(), np.full((*shape, 3), 255, np.uint8)):
        found = resizing.resize(photo, size, HALVED)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, in_integers(photo, size))


def test_a_large_frame_takes_little_memory_beside_itself() -> None:
    """Its halved copy, and what becomes of that: no further copies of that size."""
    frame = np.zeros((2640, 3040, 3), np.uint8)
    resizing.resize(frame, (1024, 1024), HALVED)  # tables that are kept
    halved, across = 1320 * 1520 * 3, 1320 * 1024 * 3
    tracemalloc.start()
    try:
        resizing.resize(frame, (1024, 1024), HALVED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert halved + across <= peak < 1.5 * halved + across


@pytest.mark.parametrize("length", [1000, 1001, 1013, 1023])
def test_nothing_drifts_in_a_photo_of_odd_sides(length: int) -> None:
    """A ramp of 2.5 grey levels an output pixel has its place, to the last row and column.

    Means are rounded up, so all of it is up to two levels brighter.
    """
    ramp = ((np.arange(length) + 0.5) * 250 / length).round().astype(np.uint8)
    photo = np.broadcast_to(ramp, (length, length))
    expected = (np.arange(100) + 0.5) * 2.5
    for seen, axis in ((photo, 0), (photo.T, 1)):
        small = resizing.resize(np.ascontiguousarray(seen), (100, 100), HALVED)
        brighter = small.take(50, axis) - expected
        assert 0 <= brighter.mean() < 2
        assert abs(brighter[:10].mean() - brighter[-10:].mean()) < 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [((53, 37), (10, 8)), ((41, 60), (8, 8)), ((20, 37), (16, 48)), ((9, 7), (16, 16))],
)
def test_a_pixel_changes_only_what_it_is_within_reach_of(
    shape: tuple[int, int], size: tuple[int, int], method: str
) -> None:
    rows, columns = resizing.footprints(shape, size, method)
    black = np.zeros(shape, np.uint8)
    is_reached = np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        black[y, x] = 255
        changed = resizing.resize(black, size, method) > 0
        black[y, x] = 0
        within_rows = (rows[:, 0] <= y) & (y < rows[:, 1])
        within = within_rows[:, None] & (columns[:, 0] <= x) & (x < columns[:, 1])
        assert not (changed & ~within).any()
        is_reached[y, x] = within.any()
    if method == HALVED:
        assert is_reached.all()
    assert rows.max() == shape[0]
    assert columns.max() == shape[1]


def test_a_method_is_asked_for_by_its_name() -> None:
    photo = np.zeros((90, 90, 3), np.uint8)
    photo[::2] = 200
    assert np.array_equal(images.resize(photo, (30, 30)), resizing.resize(photo, (30, 30), AREA))
    assert np.array_equal(
        images.resize(photo, (30, 30), HALVED), resizing.resize(photo, (30, 30), HALVED)
    )
    with pytest.raises(UsageError, match=r"unknown resize 'edgead 9'.*INTER_AREA"):
        images.resize(photo, (30, 30), "edgead 9")


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile C++ with")
def test_the_documented_c_plus_plus_gives_the_same_bytes(tmp_path: Path) -> None:
    page = Path(__file__).parents[1] / "docs/how-to/cpp.md"
    (code,) = (text for text in page.read_text().split("```cpp\n") if "Pixels resized(" in text)
    source = tmp_path / "resize.cpp"
    source.write_text(
        code.split("```")[0]
        + """
extern "C" void bytes(const std::uint8_t *in, int h, int w, std::uint8_t *out,
                      int height, int width) {
  const Pixels made = resized({h, w, {in, in + std::size_t(h) * w * 3}}, height, width);
  std::copy(made.data.begin(), made.data.end(), out);
}"""
    )
    words = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1"]
    subprocess.run([*words, "-o", tmp_path / "resize.so", source], check=True)
    library = ctypes.CDLL(str(tmp_path / "resize.so"))
    rng = np.random.default_rng(0)
    for shape, size in (((270, 480), (64, 64)), ((259, 521), (32, 40)), ((40, 300), (64, 48))):
        photo = rng.integers(0, 256, (*shape, 3), np.uint8)
        out = np.empty((*size, 3), np.uint8)
        library.bytes(
            photo.ctypes.data_as(ctypes.c_void_p),
            *shape,
            out.ctypes.data_as(ctypes.c_void_p),
            *size,
        )
        np.testing.assert_array_equal(out, resizing.resize(photo, size, HALVED))
