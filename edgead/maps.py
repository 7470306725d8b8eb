"""From the network's map to the photo's pixels."""

from __future__ import annotations

from functools import lru_cache

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
    rows = _weights(photo[0], size.height, spec.height, spec.top, spec.bottom)
    columns = _weights(photo[1], size.width, spec.width, spec.left, spec.right)
    return np.asarray(rows @ anomaly_map @ columns.T, np.float32)


@lru_cache(maxsize=16)
def _weights(pixels: int, input_pixels: int, cells: int, start: float, stop: float) -> FloatMap:
    """Interpolation weights ``[pixels, cells]`` along one axis.

    Exact where ``cv2.warpAffine`` and ``cv2.remap`` round positions to 1/32 of a cell.
    """
    centres = (np.arange(pixels) + 0.5) * input_pixels / pixels
    position = (centres - start) / (stop - start) * cells - 0.5
    distance = np.abs(position[:, None] - np.arange(cells)[None, :])
    if start <= 0:  # the first cell reaches the photo's edge: no fall-off towards a border
        distance[position < 0, 0] = 0
    if stop >= input_pixels:
        distance[position > cells - 1, -1] = 0
    weights = np.asarray(np.maximum(0, 1 - distance), np.float32)
    weights.setflags(write=False)
    return weights
