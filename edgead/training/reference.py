"""The trained detector in torch, behind the same interface as the runtimes on a device."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from edgead import cpu
from edgead.artifact import Artifact
from edgead.models import AnomalyModel
from edgead.runtimes.base import RawOutput, Runtime, RuntimeInfo, RuntimeOptions
from edgead.training.run import Run


class TorchReference(Runtime):
    """Runs a finished training on the workstation: what every exported file is compared with."""

    name: ClassVar[str] = "torch"
    speed_rank: ClassVar[int] = 0

    def __init__(
        self, artifact: Artifact, model: AnomalyModel, options: RuntimeOptions | None = None
    ) -> None:
        super().__init__(artifact, options)
        self._model = model

    @classmethod
    def from_run(cls, path: str | Path, threads: int | None = None) -> TorchReference:
        """Load a run folder.

        Raises:
            UsageError: Not a run folder.
            TrainingError: Its training has not finished, or it is damaged.
        """
        run = Run(path)
        model, manifest = run.load_model()
        size = run.model_file.stat().st_size
        artifact = Artifact(run.path, manifest, manifest.source_sha256, size)
        return cls(artifact, model, RuntimeOptions(threads=threads))

    @classmethod
    def unavailable(cls) -> str | None:
        """Torch is there, or this module could not have been imported."""
        return None

    def _open(self) -> None:
        torch.set_num_threads(self.options.threads or cpu.default_threads())

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        with torch.inference_mode():
            anomaly_map, score = self._model(torch.from_numpy(images))
        return RawOutput(anomaly_map.numpy(), score.numpy())

    def _close(self) -> None:
        pass

    def _describe(self) -> RuntimeInfo:
        """Say which torch is in use."""
        return RuntimeInfo(
            "torch", torch.__version__, "eager", cpu.model_name(), "cpu", torch.get_num_threads()
        )
