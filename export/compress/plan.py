"""How many channels each convolution keeps: all choices that lead from everything to a target.

One step takes channels from one place: a difference's projection, a hidden activation, or the
inner rank of a convolution. The step taken next is the one that costs the least weighted energy
(:mod:`edgead.export.compress.importance`) for the work that it saves, so a target in GMAC is the
only knob, and a smaller target continues the path of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgead.export.compress.importance import importance
from edgead.export.compress.lowrank import tail
from edgead.export.compress.moments import Observed, covariance
from edgead.export.compress.network import Floats, Network
from edgead.export.compress.projection import energy_left
from edgead.export.compress.pruning import selection

STEP = 16
"""Channels are kept in multiples of this: what the kernels of all runtimes are built for."""

_WORTH = 0.01
"""A convolution with less than this share of all operations is left alone."""

_PER_VALUE = 32.0
"""What writing one value of an activation costs, in multiply-accumulates.

docs/notes/compression-method.md has the reason.
"""


@dataclass(frozen=True)
class Plan:
    """The channels and ranks that a compressed graph keeps.

    Attributes:
        gmac: Multiply-accumulates of one photo, in billions, without the head.
        directions: Of each difference, by the name of its activation.
        channels: Of each convolution whose outputs are pruned.
        ranks: Rank of each convolution that becomes two.
        lost: Predicted weighted energy of the errors, as a share of the differences' energy.
    """

    gmac: float
    directions: Mapping[str, int]
    channels: Mapping[str, int]
    ranks: Mapping[str, int]
    lost: float


@dataclass(frozen=True)
class Choices:
    """The possible choices and the cost of each.

    Attributes:
        directions: Energy lost with each number of directions of a difference.
        channels: The same for channels of a convolution's activation.
        ranks: The same for ranks of a convolution.
        orders: In which order to keep the channels of an activation.
    """

    directions: Mapping[str, Floats]
    channels: Mapping[str, Floats]
    ranks: Mapping[str, Floats]
    orders: Mapping[str, list[int]]


def worthwhile(network: Network) -> list[str]:
    """Name the convolutions that cost enough to be compressed."""
    least = _WORTH * network.macs
    return [name for name, c in network.convolutions.items() if c.macs >= least]


def choices(network: Network, observed: Observed) -> Choices:
    """Work out what every choice costs, from samples of the original graph."""
    weights = importance(network, observed.outputs)
    ends = {name for d in network.differences for name in d.convolutions}
    directions = {
        d.tensor: abs(d.weight) * energy_left(network, d, observed) for d in network.differences
    }
    channels, ranks, orders = {}, {}, {}
    convolutions = network.convolutions
    chosen = worthwhile(network)
    for name in chosen:
        convolution = convolutions[name]
        if name in ends:
            continue
        ranks[name] = tail(covariance(observed.outputs[name]), weights.outputs[name])
        reading = network.readers(convolution.activated)
        if not convolution.has_relu or not reading or reading[0][0] not in observed.channels:
            continue
        reader, offset = reading[0]
        own = slice(offset, offset + convolution.channels)
        orders[name], channels[name] = selection(
            observed.channels[reader][own, own], weights.activated[name]
        )
    return Choices(directions, channels, ranks, orders)


def path(network: Network, found: Choices) -> Iterator[Plan]:
    """Yield plans of fewer and fewer operations, each a step on from the one before."""
    work = _Work(network)
    losses = {
        **{("directions", name): losses for name, losses in found.directions.items()},
        **{("channels", name): losses for name, losses in found.channels.items()},
        **{("ranks", name): losses for name, losses in found.ranks.items()},
    }
    whole = sum(float(losses[0]) for losses in found.directions.values())
    kept = {key: len(values) - 1 for key, values in losses.items()}
    while True:
        lost = sum(float(losses[key][count]) for key, count in kept.items())
        macs, cost = work.of(kept)
        yield Plan(macs / 1e9, *_by_kind(kept, losses), lost / whole)
        best: tuple[float, _Key, int] | None = None
        for key, now in kept.items():
            for count in _lower(len(losses[key]) - 1, now):
                saved = cost - work.of({**kept, key: count})[1]
                if saved <= 0:
                    continue
                price = float(losses[key][count] - losses[key][now]) / saved
                if best is None or price < best[0]:
                    best = price, key, count
        if best is None:
            return
        kept[best[1]] = best[2]


_Key = tuple[str, str]


class _Work:
    """Multiply-accumulates, and those with the cost of writing activations added."""

    def __init__(self, network: Network) -> None:
        self._convolutions = network.convolutions
        self._ends = {n: d.tensor for d in network.differences for n in d.convolutions}
        self._producers: dict[str, list[str]] = {name: [] for name in self._convolutions}
        for name, convolution in self._convolutions.items():
            for reader, _ in network.readers(convolution.activated) or []:
                self._producers[reader].append(name)

    def of(self, kept: Mapping[_Key, int]) -> tuple[int, float]:
        macs, cost = 0, 0.0
        for name, convolution in self._convolutions.items():
            outputs = self._outputs(name, kept)
            inputs = convolution.inputs - sum(
                self._convolutions[producer].channels - self._outputs(producer, kept)
                for producer in self._producers[name]
            )
            places = convolution.positions[0] * convolution.positions[1]
            area = convolution.kernel[0] * convolution.kernel[1]
            rank = kept.get(("ranks", name), convolution.channels)
            is_whole = rank >= min(outputs, convolution.channels)
            work = inputs * area * outputs if is_whole else rank * (inputs * area + outputs)
            written = outputs if is_whole else outputs + rank
            macs += places * work
            cost += places * (work + _PER_VALUE * written)
        return macs, cost

    def _outputs(self, name: str, kept: Mapping[_Key, int]) -> int:
        if name in self._ends:
            return kept[("directions", self._ends[name])]
        return kept.get(("channels", name), self._convolutions[name].channels)


def _by_kind(
    kept: Mapping[_Key, int], losses: Mapping[_Key, Floats]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    parts: dict[str, dict[str, int]] = {"directions": {}, "channels": {}, "ranks": {}}
    for (kind, name), count in kept.items():
        if count < len(losses[(kind, name)]) - 1:
            parts[kind][name] = count
    return parts["directions"], parts["channels"], parts["ranks"]


def _lower(whole: int, now: int) -> list[int]:
    step = STEP if whole > 3 * STEP else STEP // 2
    return [count for count in range(step, whole, step) if count < now]
