"""TensorRT's own INT8 calibration, of an FP32 graph; gone from TensorRT 11."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import files
from edgead.calibration import cache
from edgead.errors import UsageError
from edgead.runtimes.tensorrt.device import Device, DeviceBuffer
from edgead.runtimes.tensorrt.session import INPUT

_KINDS = {"entropy": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}


def calibrator(
    trt: Any, device: Device, kind: str, photos: npt.NDArray[np.uint8], key: tuple[str, ...]
) -> Any:
    """Make a calibrator over photos, with a cache of what they gave.

    Args:
        trt: The tensorrt package.
        device: The GPU.
        kind: ``"entropy"`` or ``"minmax"``.
        photos: uint8 ``[N, height, width, 3]`` BGR.
        key: What the scales depend on beside the kind: model, photos, version.

    Returns:
        An object for ``IBuilderConfig.int8_calibrator``; call its ``free`` after the build.

    Raises:
        UsageError: This TensorRT has no calibrators.
    """
    base = getattr(trt, _KINDS[kind], None)
    if base is None:
        raise UsageError(
            f"TensorRT {trt.__version__} no longer has calibrators: leave out "
            "--tensorrt-calibrator; the INT8 engine is then built from the -int8-tensorrt.onnx file"
        )
    digest = hashlib.sha256("\0".join((kind, *key)).encode()).hexdigest()
    path = cache.folder() / f"tensorrt-calibration-{digest[:32]}"

    class Calibrator(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)  # type: ignore[misc]
            self._left = iter(photos)
            self._buffer: DeviceBuffer | None = None

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            photo = next(self._left, None)
            if photo is None or list(names) != [INPUT]:
                return None
            if self._buffer is None:
                self._buffer = device.allocate(photo.nbytes)
            device.upload(self._buffer, np.ascontiguousarray(photo).reshape(-1))
            return [self._buffer.address]

        def read_calibration_cache(self) -> bytes | None:
            return path.read_bytes() if path.is_file() else None

        def write_calibration_cache(self, content: Any) -> None:
            files.write_bytes(path, bytes(content))

        def free(self) -> None:
            if self._buffer is not None:
                self._buffer.free()
                self._buffer = None

    return Calibrator()
