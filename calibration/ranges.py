"""Run photos through a graph and see which values its activations take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgead import cpu
from edgead.calibration.calibrators import Histogram
from edgead.errors import EdgeadError

_BINS = 2048

Photos = Callable[[], Iterable[npt.NDArray[np.uint8]]]
"""Gives batches uint8 ``[N, height, width, 3]`` BGR; called twice."""


def histograms(
    model: onnx.ModelProto, tensors: Sequence[str], photos: Photos
) -> dict[str, Histogram]:
    """Count the values of activations, photo by photo, so that memory stays bounded.

    The first pass finds the ends, the second counts between them.

    Args:
        model: FP32 graph with edgead's contract.
        tensors: Names of activations in it.
        photos: The calibration photos at the network's input size.

    Raises:
        EdgeadError: An activation is not finite.
    """
    session = _session(model, tensors)
    ends: dict[str, tuple[float, float]] = {}
    for batch in photos():
        for name, values in _run(session, tensors, batch):
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise EdgeadError(
                    f"the activation {name} is not finite on a calibration photo: train again"
                )
            known = ends.get(name, (low, high))
            ends[name] = min(known[0], low), max(known[1], high)
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
    for batch in photos():
        for name, values in _run(session, tensors, batch):
            low, high = ends[name]
            counts[name] += np.histogram(values, _BINS, (low, max(high, low + 1e-12)))[0]
    return {name: Histogram(*ends[name], counts[name]) for name in tensors}


def _session(model: onnx.ModelProto, tensors: Sequence[str]) -> Any:
    import onnxruntime

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {output.name for output in exposed.graph.output}
    for name in tensors:
        if name not in present:
            exposed.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu.physical_cores()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(
    session: Any, tensors: Sequence[str], batch: npt.NDArray[np.uint8]
) -> Iterable[tuple[str, npt.NDArray[np.float32]]]:
    return zip(tensors, session.run(list(tensors), {"image": batch}), strict=True)
