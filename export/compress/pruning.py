"""Which channels of an activation can go, when those who read it are fitted again.

A channel that the others predict carries nothing: its part in the next convolution is given to
them. Channels are taken in the order in which they explain the rest (a pivoted Cholesky
decomposition of the covariance), weighted by what the map sees of them.
"""

from __future__ import annotations

import numpy as np

from edgead.export.compress.network import Floats


def selection(covariance: Floats, importance: Floats) -> tuple[list[int], Floats]:
    """Order channels by what they explain.

    Args:
        covariance: Of the activation's channels ``[channels, channels]``.
        importance: How errors of the channels count together, of the same shape.

    Returns:
        The channels in the order in which to keep them, and the weighted energy that remains
        unexplained with the first 0, 1, ... of them.
    """
    left = np.array(covariance, np.float64)
    seen = importance @ left
    floor = 1e-9 * max(float(np.trace(left)), 1e-30) / len(left)
    order: list[int] = []
    lost = [float(np.trace(seen))]
    for _ in range(len(left)):
        diagonal = np.diag(left)
        gains = np.einsum("ij,ij->j", left, seen) / np.maximum(diagonal, floor)
        gains[diagonal <= floor] = 0.0
        gains[order] = -1.0
        best = int(gains.argmax())
        if diagonal[best] > floor:
            column = left[:, best] / diagonal[best]
            explained = left[best].copy()
            seen -= np.outer(importance @ column, explained)
            left -= np.outer(column, explained)
        order.append(best)
        lost.append(max(0.0, float(np.trace(seen))))
    return order, np.asarray(lost)
