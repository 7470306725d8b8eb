"""What the compression needs to know of activations: samples and second moments, streamed.

One photo is in memory at a time. From each, a fixed number of places is drawn for every
convolution; the same places are drawn again in a later pass, so that the original graph's outputs
there are the targets of a changed one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgead.calibration.probe import probe
from edgead.export.compress.network import Conv, Floats, Network

Samples = npt.NDArray[np.float32]
Photos = Sequence[npt.NDArray[np.uint8]]
"""Batches of one, uint8 ``[1, height, width, 3]`` BGR at the network's input size."""


@dataclass(frozen=True)
class Observed:
    """Statistics of a graph's activations on photos.

    Attributes:
        outputs: For each convolution, its outputs (before a ReLU) at the drawn places,
            float32 ``[places, channels]``; each photo has as many, one after the other.
        channels: For each convolution, the covariance of its input's channels, ``[in, in]``.
        photos: Number of photos.
    """

    outputs: Mapping[str, Samples]
    channels: Mapping[str, Floats]
    photos: int


@dataclass(frozen=True)
class Regression:
    """Moments of a convolution's patches and of its target outputs there.

    Attributes:
        patch_mean, output_mean: Means.
        patches: Covariance of the patches ``[inputs, inputs]``, inputs = channels x kernel.
        crossed: Covariance of outputs and patches ``[outputs, inputs]``.
    """

    patch_mean: Floats
    output_mean: Floats
    patches: Floats
    crossed: Floats


def observe(network: Network, names: Sequence[str], photos: Photos, places: int) -> Observed:
    """Run photos through a graph and sample its convolutions.

    Args:
        network: The graph.
        names: Convolutions.
        photos: The photos.
        places: Drawn in each photo, at most, for each convolution.
    """
    chosen = {name: network.convolutions[name] for name in names}
    weights = {name: _flat(network, name) for name in names}
    outputs: dict[str, list[Samples]] = {name: [] for name in names}
    sums = {name: np.zeros((c.inputs + 1, c.inputs + 1)) for name, c in chosen.items()}
    for index, values in enumerate(_inputs(network, chosen, photos)):
        for name, convolution in chosen.items():
            drawn = _patches(values[convolution.input], convolution, index, places)
            matrix, bias = weights[name]
            outputs[name].append(drawn @ matrix.T + bias)
            area = drawn.shape[1] // convolution.inputs
            middle = drawn.reshape(len(drawn), convolution.inputs, area)[:, :, area // 2]
            with_one = np.concatenate([middle, np.ones((len(middle), 1), np.float32)], 1)
            sums[name] += with_one.T @ with_one
    return Observed(
        {name: np.concatenate(entries) for name, entries in outputs.items()},
        {name: _covariance(total) for name, total in sums.items()},
        len(photos),
    )


def regressions(
    network: Network,
    targets: Mapping[str, Samples],
    photos: Photos,
    places: int,
    weights: Mapping[str, Samples] | None = None,
) -> dict[str, Regression]:
    """Gather what a least-squares fit of convolutions to given outputs needs.

    Args:
        network: The graph as it is now.
        targets: For each convolution, float32 ``[places, outputs]`` at the places that
            :func:`observe` drew in the same photos.
        photos: The same photos.
        places: The same number.
        weights: For each convolution, how much a place counts ``[places]``; one where absent.
    """
    chosen = {name: network.convolutions[name] for name in targets}
    sums: dict[str, list[npt.NDArray[np.float32]]] = {}
    position = dict.fromkeys(chosen, 0)
    for index, values in enumerate(_inputs(network, chosen, photos)):
        for name, convolution in chosen.items():
            drawn = _patches(values[convolution.input], convolution, index, places)
            start = position[name]
            position[name] = stop = start + len(drawn)
            wanted = targets[name][start:stop]
            one = np.ones((len(drawn), 1), np.float32)
            left = np.concatenate([drawn, one], 1)
            scaled = left
            if weights is not None and name in weights:
                scaled = left * weights[name][start:stop, None]
            both = (scaled.T @ left, scaled.T @ wanted)
            if name in sums:
                for total, more in zip(sums[name], both, strict=True):
                    total += more
            else:
                sums[name] = list(both)
    return {name: _regression(*totals) for name, totals in sums.items()}


def covariance(samples: Samples) -> Floats:
    """Return the covariance ``[channels, channels]`` of samples ``[places, channels]``."""
    centred = samples - samples.mean(0)
    return np.asarray(centred.T @ centred, np.float64) / len(samples)


def _regression(squares: Samples, crossed: Samples) -> Regression:
    count = float(squares[-1, -1])
    both: Floats = squares.astype(np.float64) / count
    wanted: Floats = crossed.astype(np.float64) / count
    patch_mean, output_mean = both[-1, :-1], wanted[-1]
    return Regression(
        patch_mean,
        output_mean,
        both[:-1, :-1] - np.outer(patch_mean, patch_mean),
        wanted[:-1].T - np.outer(output_mean, patch_mean),
    )


def _inputs(
    network: Network, chosen: Mapping[str, Conv], photos: Photos
) -> Iterator[dict[str, Samples]]:
    tensors = list(dict.fromkeys(convolution.input for convolution in chosen.values()))
    for values in probe(_up_to(network.model, tensors), tensors, photos):
        yield dict(zip(tensors, values, strict=True))


def _patches(values: Samples, convolution: Conv, index: int, places: int) -> Samples:
    """Draw patches ``[places, channels * kernel]`` of one photo's activation ``[1, C, h, w]``."""
    rows, columns = convolution.positions
    rng = np.random.default_rng([index, rows, columns])
    drawn = rng.choice(rows * columns, min(places, rows * columns), replace=False)
    row, column = np.divmod(drawn, columns)
    top, left, bottom, right = convolution.pads
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, convolution.kernel, (1, 2))
    taken = windows[:, row * convolution.strides[0], column * convolution.strides[1]]
    return np.ascontiguousarray(taken.transpose(1, 0, 2, 3)).reshape(len(drawn), -1)


def _flat(network: Network, name: str) -> tuple[Samples, Samples]:
    weights, bias = network.weights(name)
    return weights.reshape(len(weights), -1).astype(np.float32), bias.astype(np.float32)


def _covariance(sums: Floats) -> Floats:
    sums = sums / sums[-1, -1]
    mean = sums[-1, :-1]
    return np.asarray(sums[:-1, :-1] - np.outer(mean, mean))


def _up_to(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Leave out what the given activations do not need."""
    wanted, kept = set(tensors), []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(reversed(kept))
    for tensor in [t for t in part.graph.initializer if t.name not in wanted]:
        part.graph.initializer.remove(tensor)
    return part
