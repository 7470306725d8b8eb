"""Fewer and larger windows of the same canvas, for networks that take inputs of any size."""

from __future__ import annotations

from edgead.artifact.specs import ViewSpec

Size = tuple[int, int]

_ALIGNED = 32  # pixels: the coarsest features of a backbone


def merged(size: Size, spec: ViewSpec, most_pixels: int) -> tuple[Size, ViewSpec]:
    """Join neighbouring windows, as many as a number of pixels allows.

    A cell near the border of a window sees less around it than one in the middle, so that windows
    show as seams; and what they share is computed twice. Canvas and mask stay the same.

    Args:
        size: ``(height, width)`` of a window.
        spec: Rows and columns of such windows.
        most_pixels: Of one large window.

    Returns:
        Size of the large windows, and their rows and columns. Rows and columns are joined in equal
        parts, so a prime number of them is joined whole or not at all.
    """
    steps = size[0] - spec.overlap, size[1] - spec.overlap
    found = []
    for down in _parts(spec.rows, steps[0]):
        for across in _parts(spec.columns, steps[1]):
            large = size[0] + (down - 1) * steps[0], size[1] + (across - 1) * steps[1]
            if large[0] * large[1] <= most_pixels or (down, across) == (1, 1):
                found.append((down * across, -max(large), large, down, across))
    _, _, large, down, across = max(found)
    rows, columns = spec.rows // down, spec.columns // across
    overlap = 0 if (rows, columns) == (1, 1) else spec.overlap
    return large, spec.replace(rows=rows, columns=columns, overlap=overlap)


def _parts(count: int, step: int) -> list[int]:
    """Return how many windows along an axis can be one."""
    return [
        part
        for part in range(1, count + 1)
        if count % part == 0 and (part - 1) * step % _ALIGNED == 0
    ]
