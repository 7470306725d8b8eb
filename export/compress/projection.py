"""Principal directions of a difference of features.

The map takes the sum of squares over a difference's channels. It is the same in any orthonormal
basis, and in that of the principal directions a few channels hold nearly all of it. What the
others hold is close to a constant on good parts, which the head's refit takes up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgead.export.compress.lowrank import cosines
from edgead.export.compress.moments import Observed, Samples
from edgead.export.compress.network import Difference, Floats, Network

_FLUCTUATING = 0.1
"""Share of a direction's energy that counts as lost with it: most of it is the same on every photo,
and the head's refit takes that up (docs/notes/compression-projection.md has what was measured)."""


def difference_samples(difference: Difference, observed: Observed) -> Samples:
    """Return the difference at the drawn places, float32 ``[places, channels]``.

    Of one that is centred, the mean over each photo's drawn places stands for that of the photo.
    """
    parts = [
        sign * observed.outputs[name]
        for name, sign in zip(difference.convolutions, difference.signs, strict=True)
    ]
    samples = np.asarray(sum(parts), np.float32)
    by_photo = samples.reshape(observed.photos, -1, samples.shape[1])
    centred = by_photo - difference.centring * by_photo.mean(1, keepdims=True)
    return np.asarray(centred.reshape(samples.shape), np.float32)


def principal_directions(samples: Samples) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return directions ``[channels, channels]`` (columns, largest first) and their energies.

    The second moment is taken about zero, as the map takes it.
    """
    moment = np.asarray(samples.T @ samples, np.float64) / len(samples)
    energies, directions = np.linalg.eigh(moment)
    return directions[:, ::-1], np.maximum(energies[::-1], 0)


def kept_directions(samples: Samples, count: int) -> Floats:
    """Return an orthonormal basis ``[channels, count]`` of the first principal directions.

    Not those directions themselves: the first of them has many times the range of the last, and
    INT8 gives all channels of a tensor one step. Turned by a cosine transform within their span,
    all channels have about the same energy, and the sum of squares is as before.
    """
    directions, _ = principal_directions(samples)
    return directions[:, :count] @ cosines(count)


def energy_left(network: Network, difference: Difference, observed: Observed) -> Floats:
    """Return the energy that counts as lost with a difference's first 0, 1, ... directions."""
    _, energies = principal_directions(difference_samples(difference, observed))
    kept = np.concatenate([[0.0], np.cumsum(energies)])
    return np.asarray(_FLUCTUATING * (kept[-1] - kept))
