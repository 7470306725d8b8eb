"""Check the outputs of a runtime against the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.artifact import InputSpec, MapSpec

_ROUNDING = 2.0**-7
"""How far a score may be from its map's maximum, as a share of the map's largest magnitude: a step
of bfloat16, the coarsest arithmetic that can be asked for. In float32 and INT8 they are equal."""

_NOT_FINITE = "its score or anomaly_map is not finite"


def problem(anomaly_map: Any, score: Any, count: int, spec: MapSpec) -> str | None:
    """Say what is wrong with the outputs of a batch; ``None`` if nothing is.

    Args:
        anomaly_map: Must be float32 ``[count, height, width]`` of the manifest, and finite.
        score: Must be float32 ``[count]``, finite, the maximum of each map.
        count: Images in the batch.
        spec: The map of the manifest.
    """
    expected = {"anomaly_map": (count, spec.height, spec.width), "score": (count,)}
    for name, value in (("anomaly_map", anomaly_map), ("score", score)):
        if not _is_float32(value, expected[name]):
            return f"its output '{name}' is {_kind(value)}, not float32 {list(expected[name])}"
    highest = anomaly_map.max(axis=(1, 2))
    # A NaN anywhere makes the minimum NaN.
    if not (np.isfinite(anomaly_map.min()) and np.isfinite(highest).all()):
        return _NOT_FINITE
    if (score == highest).all():  # which is all that is asked of most frames
        return None
    if not np.isfinite(score).all():
        return _NOT_FINITE
    off = np.abs(score - highest)
    wrong = np.flatnonzero(off > _ROUNDING * np.abs(anomaly_map).max(axis=(1, 2)))
    if wrong.size:
        return (
            f"its score {score[wrong[0]]:.6g} is not the maximum of its anomaly_map, "
            f"{highest[wrong[0]]:.6g}"
        )
    return None


def trial_image(size: InputSpec) -> npt.NDArray[np.uint8]:
    """Make a smooth coloured picture, uint8 ``[height, width, 3]`` BGR, to try a network with.

    Its cells differ, so that a mean or a minimum is not taken for a maximum, and its pixels keep to
    the middle of their range, so that no float16 overflows.
    """
    image = np.empty((size.height, size.width, 3), np.uint8)
    across, down = (np.linspace(64, 191, side).astype(np.uint8) for side in size.size[::-1])
    image[..., 0] = across
    image[..., 1] = down[:, None]
    image[..., 2] = 255 - across
    return image


def _is_float32(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.shape == shape


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"
