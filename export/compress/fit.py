"""Carry a plan out: project, prune and factorise, and fit each convolution to the original.

The convolutions are changed from the photo to the map. Each is fitted, in closed form, on the
activations of those already changed before it, to the outputs that the original gave on the same
photos, so that errors are corrected where they can be and do not add up. The last convolutions are
fitted to the differences themselves: an error that teacher and student have in common cancels, and
costs nothing.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgead.export.compress.importance import importance
from edgead.export.compress.lowrank import least_squares, reduced_rank
from edgead.export.compress.moments import Observed, Photos, Samples, regressions
from edgead.export.compress.network import Floats, Network
from edgead.export.compress.plan import Choices, Plan
from edgead.export.compress.projection import difference_samples, kept_directions

PLACES = 256
"""Places drawn in each photo for each convolution."""


def carry_out(
    original: Network, plan: Plan, found: Choices, observed: Observed, photos: Photos
) -> onnx.ModelProto:
    """Return the compressed graph; its head is still the original's.

    Args:
        original: The graph to compress.
        plan: The channels and ranks to keep.
        found: The choices that the plan was made from.
        observed: Samples of the original, of all its convolutions, on the same photos.
        photos: Photos to fit on.
    """
    weights = importance(original, observed.outputs)
    network = Network(original.model)
    targets: dict[str, Samples] = dict(observed.outputs)
    for difference in original.differences:
        if difference.tensor in plan.directions:
            samples = difference_samples(difference, observed)
            kept = kept_directions(samples, plan.directions[difference.tensor])
            network.project(difference, kept)
            for name in difference.convolutions:
                targets[name] = targets[name] @ kept.astype(np.float32)
    errors: dict[str, Floats] = dict(weights.outputs)
    for name, count in plan.channels.items():
        chosen = sorted(found.orders[name][:count])
        network.keep_channels(name, chosen)
        targets[name] = targets[name][:, chosen]
        errors[name] = errors[name][np.ix_(chosen, chosen)]
    for stage in _stages(network, original, plan):
        moments = regressions(network, {name: targets[name] for name in stage}, photos, PLACES)
        for name in stage:
            old, _ = network.weights(name)
            matrix, bias = least_squares(moments[name], old.reshape(len(old), -1))
            rank = plan.ranks.get(name)
            if rank is None or rank >= len(matrix):
                network.set_weights(name, matrix.reshape(old.shape), bias)
                continue
            made = reduced_rank(moments[name], matrix, bias, errors[name], rank)
            shape = (rank, *old.shape[1:])
            network.factorise(
                name, (made.inner.reshape(shape), made.inner_bias), (made.outer, made.outer_bias)
            )
    return network.finished()


def outline(original: Network, plan: Plan) -> onnx.ModelProto:
    """Return a graph of a plan's shape with weights that mean nothing, to time it.

    What an inference costs does not depend on the weights, and nothing has to be fitted for it.
    """
    network = Network(original.model)
    for difference in original.differences:
        kept = plan.directions.get(difference.tensor)
        if kept is not None:
            channels = original.convolutions[difference.convolutions[0]].channels
            network.project(difference, np.eye(channels)[:, :kept])
    for name, count in plan.channels.items():
        network.keep_channels(name, range(count))
    for name, rank in plan.ranks.items():
        weights, bias = network.weights(name)
        if rank < len(weights):
            outer = np.eye(len(weights))[:, :rank]
            network.factorise(name, (weights[:rank], bias[:rank]), (outer, bias))
    return network.finished()


def _stages(network: Network, original: Network, plan: Plan) -> list[list[str]]:
    """Group the convolutions to fit so that each stage needs only the stages before it."""
    depth: dict[str, int] = {}
    touched: dict[str, bool] = {}
    convolutions = original.convolutions
    before: dict[str, list[str]] = {name: [] for name in convolutions}
    for name, convolution in convolutions.items():
        for reader, _ in original.readers(convolution.activated) or []:
            before[reader].append(name)
    for name in convolutions:
        changed = [source for source in before[name] if touched[source]]
        pruned = [source for source in before[name] if source in plan.channels]
        touched[name] = bool(changed) or bool(pruned) or name in plan.ranks
        depth[name] = max([depth[source] for source in before[name]], default=-1) + bool(
            touched[name]
        )
    stages: dict[int, list[str]] = {}
    for name in convolutions:
        if touched[name]:
            stages.setdefault(depth[name], []).append(name)
    return [stages[level] for level in sorted(stages)]
