"""Patch vectors of photos, out of a graph of :mod:`edgead.teaching.patchcore`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgead import cpu
from edgead.runtimes import heap
from edgead.runtimes.onnxruntime.library import PROVIDER, load
from edgead.runtimes.onnxruntime.session import exact_options
from edgead.teaching.patchcore import FEATURES, SURFACE, Floats, Patches


def open_session(model: onnx.ModelProto) -> Any:
    """Return an ``onnxruntime.InferenceSession`` for many photos beside much else in memory.

    Args:
        model: Any graph.
    """
    options = exact_options(cpu.default_threads())
    # Reserves the whole pattern of the first photo for good (docs/notes/memory.md).
    options.enable_mem_pattern = False
    # Between two photos there is work in NumPy, whose threads a spinning one would slow down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = load().InferenceSession(model.SerializeToString(), options, providers=[PROVIDER])
    heap.return_freed()
    return session


class Extractor:
    """Gives the patch vectors of photos.

    Args:
        model: A graph of :mod:`edgead.teaching.patchcore`, FP32 or INT8, with any bank.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        kept = onnx.ModelProto()
        kept.CopyFrom(model)
        del kept.graph.output[:]
        kept.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (FEATURES, SURFACE))
        self._session = open_session(kept)

    def vectors(self, photo: npt.NDArray[np.uint8]) -> Floats:
        """Return the patch vectors of a photo, float32 ``[h * w, channels]``, row by row.

        Args:
            photo: uint8 ``[height, width, 3]`` BGR at the network's input size.
        """
        (found,) = self._session.run([FEATURES], {"image": photo[None]})
        return _by_cell(found)

    def patches(self, photo: npt.NDArray[np.uint8]) -> Patches:
        """Return the deep and the shallow vectors of such a photo."""
        deep, surface = self._session.run([FEATURES, SURFACE], {"image": photo[None]})
        return Patches(_by_cell(deep), _by_cell(surface))


def _by_cell(found: Floats) -> Floats:
    return np.ascontiguousarray(found[0].reshape(found.shape[1], -1).T)
