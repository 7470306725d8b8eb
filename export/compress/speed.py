"""The latency of a compression, measured before its weights are fitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgead.artifact import Manifest, write_artifact
from edgead.export import latency
from edgead.export.compress.compressor import Compressor
from edgead.runtimes import open_runtime

_ANY_RANGE = (0.0, 1.0)


def timer(
    compressor: Compressor, manifest: Manifest, photo: npt.NDArray[np.uint8], scratch: Path
) -> Callable[[float], float]:
    """Return what measures one inference with so many GMAC left, in the runtime of ``auto``.

    Args:
        compressor: The detector.
        manifest: Of the file that will be deployed: its precision, ``"fp32"`` or ``"int8"``, is the
            one that is timed.
        photo: uint8 ``[1, height, width, 3]`` BGR.
        scratch: Folder for files that are timed and removed.
    """

    def milliseconds(gmac: float) -> float:
        whole = gmac >= compressor.gmac
        model = compressor.original if whole else compressor.outline(gmac)
        if manifest.kind.is_int8:
            model = _as_int8(model)
        shown = manifest.replace(model=manifest.model.replace(gmac=gmac))
        file = write_artifact(scratch / "outline.onnx", model.SerializeToString(), shown)
        with open_runtime(file).runtime as runtime:
            found = latency.side_by_side({"outline": runtime}, photo)
        file.path.unlink()
        return found["outline"]

    return milliseconds


def _as_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantize with ranges that mean nothing: what it costs does not depend on them."""
    from edgead.calibration.calibrators import Range
    from edgead.export import qdq

    return qdq.for_onnxruntime(
        model, {name: Range(*_ANY_RANGE) for name in qdq.calibrated_tensors(model)}
    )
