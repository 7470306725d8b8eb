"""Windows that are joined show the same canvas."""

import pytest

from edgead.artifact import ViewSpec
from edgead.view import View, merged


@pytest.mark.parametrize(
    ("grid", "size", "overlap", "most", "large", "left"),
    [
        ((5, 5), (256, 256), 64, 1_500_000, (1024, 1024), (1, 1)),
        ((5, 7), (256, 256), 64, 1_500_000, (1024, 1408), (1, 1)),
        ((10, 10), (256, 256), 64, 1_500_000, (1024, 1024), (2, 2)),
        ((6, 4), (256, 256), 64, 500_000, (448, 832), (3, 1)),
        ((11, 1), (256, 256), 64, 300_000, (256, 256), (11, 1)),
        ((2, 2), (256, 256), 40, 1_500_000, (256, 256), (2, 2)),  # 216 px are no multiple of 32
    ],
)
def test_joined_as_far_as_allowed(
    grid: tuple[int, int],
    size: tuple[int, int],
    overlap: int,
    most: int,
    large: tuple[int, int],
    left: tuple[int, int],
) -> None:
    spec = ViewSpec(4 / 3, (0.1, 0, 0.8, 1), grid[0], grid[1], overlap)
    found, fewer = merged(size, spec, most)
    assert View(found, spec=fewer).canvas == View(size, spec=spec).canvas
    assert (found, (fewer.rows, fewer.columns)) == (large, left)
    assert fewer.crop == spec.crop
