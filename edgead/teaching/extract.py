"""Patch vectors of photos, out of a graph of :mod:`edgead.teaching.patchcore`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from edgead import cpu
from edgead.runtimes.onnxruntime.library import PROVIDER, load
from edgead.runtimes.onnxruntime.session import exact_options
from edgead.teaching.patchcore import FEATURES, Floats


class Extractor:
    """Gives the patch vectors of photos.

    Args:
        model: A graph of :mod:`edgead.teaching.patchcore`, FP32 or INT8, with any bank.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        kept = onnx.ModelProto()
        kept.CopyFrom(model)
        del kept.graph.output[:]
        kept.graph.output.append(onnx.ValueInfoProto(name=FEATURES))
        options = exact_options(cpu.default_threads())
        options.enable_cpu_mem_arena = False  # it keeps what it took until the session ends
        self._session = load().InferenceSession(
            kept.SerializeToString(), options, providers=[PROVIDER]
        )

    def vectors(self, photo: npt.NDArray[np.uint8]) -> Floats:
        """Return the patch vectors of a photo, float32 ``[h * w, channels]``, row by row.

        Args:
            photo: uint8 ``[height, width, 3]`` BGR at the network's input size.
        """
        (found,) = self._session.run([FEATURES], {"image": photo[None]})
        return np.ascontiguousarray(found[0].reshape(found.shape[1], -1).T)
