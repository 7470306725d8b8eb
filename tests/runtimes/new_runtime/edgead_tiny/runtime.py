"""The runtime: how far a photo's colours are from those of a good part."""

from __future__ import annotations

import io
import zipfile
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead import cpu
from edgead.errors import ArtifactError, RuntimeUnavailableError
from edgead.runtimes import RawOutput, Runtime, RuntimeInfo


class TinyRuntime(Runtime):
    """NumPy on the CPU."""

    name: ClassVar[str] = "tiny"
    speed_rank: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".tiny",)
    uses_threads: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("edgead-tiny",)

    _colours: Any = None

    @classmethod
    def unavailable(cls) -> str | None:
        """It needs NumPy alone."""
        return None

    def _open(self) -> None:
        if self.options.precision not in (None, "f32") or self.options.hint != "latency":
            raise RuntimeUnavailableError("the runtime 'tiny' has no precision and no hint to set")
        try:
            with np.load(io.BytesIO(self.artifact.content())) as stored:
                self._colours = stored["colours"]
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"{self.artifact.path} holds no colours ({error})") from error

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        cells = self.artifact.manifest.map
        count, height, width, _ = images.shape
        blocks = images.reshape(
            count, cells.height, height // cells.height, cells.width, width // cells.width, 3
        )
        colours = blocks.mean(axis=(2, 4), dtype=np.float32)
        anomaly_map = np.linalg.norm(colours - self._colours, axis=-1).astype(np.float32)
        return RawOutput(anomaly_map, anomaly_map.max(axis=(1, 2)))

    def _close(self) -> None:
        self._colours = None

    def _describe(self) -> RuntimeInfo:
        return RuntimeInfo(
            name=self.name,
            version="1.0",
            provider="NumPy",
            device=cpu.model_name(),
            device_kind="cpu",
            threads=None,
        )
