"""Look at activations inside a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgead import cpu
from edgead.progress import progress
from edgead.runtimes.onnxruntime.library import PROVIDER, load
from edgead.runtimes.onnxruntime.session import exact_options


def probe(
    model: onnx.ModelProto, tensors: Sequence[str], photos: Sequence[npt.NDArray[np.uint8]]
) -> Iterator[list[npt.NDArray[np.float32]]]:
    """Yield the values of activations for one batch after another.

    Args:
        model: A graph with edgead's contract.
        tensors: Names of activations in it.
        photos: Batches uint8 ``[N, height, width, 3]`` BGR.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {output.name for output in exposed.graph.output}
    for name in tensors:
        if name not in present:
            exposed.graph.output.append(onnx.ValueInfoProto(name=name))
    options = exact_options(cpu.default_threads())
    session = load().InferenceSession(exposed.SerializeToString(), options, providers=[PROVIDER])
    for batch in progress(photos, total=len(photos), label="measuring activations"):
        yield session.run(list(tensors), {"image": batch})
