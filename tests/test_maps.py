from __future__ import annotations

import cv2
import numpy as np

from edgead import maps
from edgead.artifact import InputSpec, MapSpec

INPUT = InputSpec(256, 256, "uint8", "NHWC", "BGR", "")


def test_a_full_map_is_resized_as_opencv_does() -> None:
    values = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    spec = MapSpec(16, 16, 0, 0, 256, 256)
    for photo in ((256, 256), (300, 517), (40, 12)):
        expected = cv2.resize(values, photo[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(maps.to_photo(values, spec, INPUT, photo), expected, atol=1e-5)


def test_an_uncovered_border_counts_as_zero() -> None:
    """The reference code pads the normalised 56x56 map with zeros to 64x64 and resizes that."""
    values = np.random.default_rng(1).normal(size=(56, 56)).astype(np.float32)
    spec = MapSpec(56, 56, 16, 16, 240, 240)
    expected = cv2.resize(np.pad(values, 4), (512, 512), interpolation=cv2.INTER_LINEAR)
    found = maps.to_photo(values, spec, INPUT, (512, 512))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_cell_lands_where_it_was_looked_at() -> None:
    values = np.zeros((28, 28), np.float32)
    values[10, 4] = 1
    spec = MapSpec(28, 28, 15, 15, 239, 239)
    heat = maps.to_photo(values, spec, INPUT, (512, 1024))
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs((row + 0.5) / 2 - (15 + 10.5 * 8)) <= 0.5
    assert abs((column + 0.5) / 4 - (15 + 4.5 * 8)) <= 0.5
