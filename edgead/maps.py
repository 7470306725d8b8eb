"""From the network's map to the photo's pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import overload

import numpy as np
import numpy.typing as npt

from edgead.artifact.specs import InputSpec, MapSpec

FloatMap = npt.NDArray[np.float32]


def to_photo(
    anomaly_map: FloatMap, spec: MapSpec, size: InputSpec, photo: tuple[int, int]
) -> FloatMap:
    """Bring an anomaly map to a photo's resolution (bilinear, half-pixel centres).

    Where no map cell covers the photo (the border left by unpadded convolutions) the map counts
    as 0, as in EfficientAd's reference code, which pads the normalised map with zeros before it
    resizes.

    Args:
        anomaly_map: float32 ``[h, w]``, as the graph gives it.
        spec: Which input pixels the cells cover.
        size: The network's input.
        photo: ``(height, width)`` of the photo in pixels.

    Returns:
        float32 ``[height, width]``.
    """
    rows = weights(photo[0], (0, size.height), size.height, spec.height, spec.top, spec.bottom)
    columns = weights(photo[1], (0, size.width), size.width, spec.width, spec.left, spec.right)
    return np.asarray(rows @ anomaly_map @ columns.T, np.float32)


@lru_cache(maxsize=16)
def weights(
    pixels: int, shown: tuple[int, int], side: int, cells: int, start: float, stop: float
) -> FloatMap:
    """Return interpolation weights ``[pixels, cells]`` along one axis.

    Exact where ``cv2.warpAffine`` and ``cv2.remap`` round positions to 1/32 of a cell.

    Args:
        pixels: Of the photo.
        shown: Where it begins on the network's input, and how many pixels it has there.
        side: Pixels of the network's input.
        cells: Of the map.
        start: Pixel of the input where the map begins.
        stop: Pixel of the input where the map ends.
    """
    origin, length = shown
    centres = origin + (np.arange(pixels) + 0.5) * length / pixels
    position = (centres - start) / (stop - start) * cells - 0.5
    distance = np.abs(position[:, None] - np.arange(cells)[None, :])
    if start <= 0:  # the first cell reaches the photo's edge: no fall-off towards a border
        distance[position < 0, 0] = 0
    if stop >= side:
        distance[position > cells - 1, -1] = 0
    shares = np.maximum(0, 1 - distance)
    if length < side:  # what is beside the photo takes nothing from its edge
        middles = start + (np.arange(cells) + 0.5) * (stop - start) / cells
        shares[:, (middles < origin) | (middles > origin + length)] = 0
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    found = np.asarray(shares, np.float32)
    found.setflags(write=False)
    return found


class OnDemand(Sequence[FloatMap]):
    """Maps that are made when they are looked at, because all of them do not fit into memory.

    Args:
        make: Makes a map from its number.
        numbers: Of the maps, in order.
    """

    def __init__(self, make: Callable[[int], FloatMap], numbers: Sequence[int]) -> None:
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> FloatMap: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FloatMap]: ...
    def __getitem__(self, index: int | slice) -> FloatMap | Sequence[FloatMap]:
        """Make one, or return several still to be made."""
        if isinstance(index, slice):
            return OnDemand(self._make, self._numbers[index])
        return self._make(self._numbers[index])
