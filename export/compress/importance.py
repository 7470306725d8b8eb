"""What an error inside the networks does to the map.

An error in a hidden activation reaches the squared differences through the convolutions behind it.
For each hidden activation this module gives a matrix that weighs errors of its channels as the
differences see them: to first order, with errors at different places taken as independent, and
with a ReLU passing an error where it passes the activation (docs/notes/compression-method.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgead.export.compress.moments import Samples
from edgead.export.compress.network import Floats, Network

_POOLED = 0.5
"""Share of an error's energy that a 2x2 average leaves: between 1/4 (independent) and 1 (equal)."""


@dataclass(frozen=True)
class Importance:
    """Weights of errors, each a symmetric matrix ``[channels, channels]``.

    Attributes:
        outputs: Of each convolution's own output, before its ReLU.
        activated: Of the activation behind it, as its readers see it.
    """

    outputs: Mapping[str, Floats]
    activated: Mapping[str, Floats]


def importance(network: Network, outputs: Mapping[str, Samples]) -> Importance:
    """Follow the map's derivative back through a graph.

    Args:
        network: The original graph.
        outputs: Samples of every convolution's outputs, for the share of each ReLU that is open.
    """
    convolutions = network.convolutions
    of_output: dict[str, Floats] = {}
    of_activated: dict[str, Floats] = {}
    for difference in network.differences:
        for name in difference.convolutions:
            of_output[name] = abs(difference.weight) * np.eye(convolutions[name].channels)
    for name in reversed(convolutions):
        convolution = convolutions[name]
        if name in of_output:
            continue
        reading = network.readers(convolution.activated)
        if reading is None:
            continue
        total = np.zeros((convolution.channels, convolution.channels))
        for reader, offset in reading:
            if reader not in of_output:
                continue
            part = network.weights(reader)[0][:, offset : offset + convolution.channels]
            through = np.tensordot(of_output[reader], part, (1, 0))
            total += np.tensordot(part, through, ((0, 2, 3), (0, 2, 3)))
        of_activated[name] = total
        if network.is_pooled(convolution.activated):
            total = _POOLED * total
        if convolution.has_relu:
            is_open = (outputs[name] > 0).astype(np.float32)
            total = total * ((is_open.T @ is_open) / len(is_open))
        of_output[name] = total
    return Importance(of_output, of_activated)
