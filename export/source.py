"""What an export starts from: a run folder, or an FP32 artifact that was exported before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgead.artifact import Manifest, read_artifact
from edgead.artifact.kinds import FP32
from edgead.errors import UsageError
from edgead.export.good_photos import GoodPhotos
from edgead.runtimes import open_runtime
from edgead.teaching import DETECTORS

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Source:
    """A trained detector as an FP32 graph.

    Attributes:
        path: The run folder or the artifact.
        graph: Serialised ONNX model in FP32.
        model: The same, parsed.
        manifest: Manifest of the FP32 detector.
        photos: The good photos that are known for it.
    """

    path: Path
    graph: bytes
    model: onnx.ModelProto
    manifest: Manifest
    photos: GoodPhotos

    @property
    def is_run(self) -> bool:
        """Whether PyTorch can compute reference scores."""
        return self.path.is_dir()

    @property
    def is_taught(self) -> bool:
        """Whether it was taught, and not trained."""
        return self.manifest.model.name in DETECTORS

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Source:
        """Read a run folder (needs torch) or an FP32 artifact (needs only onnx).

        Raises:
            UsageError: Neither of them, or an artifact that is not FP32.
            ArtifactError: The artifact is damaged or not ours, or contradicts its manifest.
            TrainingError: The run has not finished or is damaged.
        """
        path = Path(path)
        if not path.exists():
            raise UsageError(f"{path} does not exist; give a run folder or an exported .onnx file")
        return cls._from_run(path) if path.is_dir() else cls._from_artifact(path)

    @classmethod
    def _from_run(cls, path: Path) -> Source:
        import onnx

        from edgead.export.graph import to_onnx
        from edgead.training import Run

        run = Run(path)
        model, manifest = run.load_model()
        graph = to_onnx(model)
        return cls(path, graph, onnx.load_from_string(graph), manifest, GoodPhotos.known_for(path))

    @classmethod
    def _from_artifact(cls, path: Path) -> Source:
        from edgead.export.contract import read_graph

        artifact = read_artifact(path)
        if artifact.manifest.engine is not None:
            raise UsageError(
                f"{path} is a TensorRT engine and cannot be exported again: use the ONNX file it "
                f"was built from ({artifact.manifest.engine.onnx})"
            )
        if artifact.manifest.kind is not FP32:
            raise UsageError(
                f"{path} is {artifact.manifest.precision} and no longer has the FP32 weights: "
                "export the FP32 file or the run folder it was made from"
            )
        with open_runtime(artifact, "onnxruntime").runtime:
            pass  # what cannot be run is refused under its own name, not under a draft's
        graph = artifact.content()
        model = read_graph(graph, artifact.manifest, str(path))
        return cls(path, graph, model, artifact.manifest, GoodPhotos.known_for(path))
