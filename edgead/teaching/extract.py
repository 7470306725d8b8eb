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
from edgead.view import View


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
        view: What of a photo is judged; ``None`` for photos at the network's size.
    """

    def __init__(self, model: onnx.ModelProto, view: View | None = None) -> None:
        self._view = view
        kept = onnx.ModelProto()
        kept.CopyFrom(model)
        del kept.graph.output[:]
        kept.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (FEATURES, SURFACE))
        self._session = open_session(kept)

    def vectors(self, photo: npt.NDArray[np.uint8]) -> Floats:
        """Return the patch vectors of a photo, float32 ``[h * w, channels]``, row by row.

        Args:
            photo: uint8 ``[height, width, 3]`` BGR at the network's input size; with a view its
                canvas, whose windows come one after the other.
        """
        each = [
            _by_cell(self._session.run([FEATURES], {"image": window[None]})[0])
            for window in self._windows(photo)
        ]
        return each[0] if len(each) == 1 else np.concatenate(each)

    def patches(self, photo: npt.NDArray[np.uint8]) -> Patches:
        """Return the deep and the shallow vectors of such a photo."""
        deep, surface = [], []
        for window in self._windows(photo):
            found = self._session.run([FEATURES, SURFACE], {"image": window[None]})
            deep.append(_by_cell(found[0]))
            surface.append(_by_cell(found[1]))
        if len(deep) == 1:
            return Patches(deep[0], surface[0])
        return Patches(np.concatenate(deep), np.concatenate(surface))

    def _windows(self, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return photo[None] if self._view is None else self._view.windows(photo)


def _by_cell(found: Floats) -> Floats:
    return np.ascontiguousarray(found[0].reshape(found.shape[1], -1).T)
