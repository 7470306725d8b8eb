"""The artifact: one exported file that describes itself."""

from edgead.artifact.artifact import Artifact, read_artifact
from edgead.artifact.containers import ONNX_SUFFIX, Container
from edgead.artifact.engine import rebuild_command, sidecar_path, write_engine
from edgead.artifact.kinds import (
    FP16,
    FP32,
    INT8,
    INT8_DYNAMIC,
    INT8_TENSORRT,
    KINDS,
    Kind,
    kind_of,
)
from edgead.artifact.manifest import SCHEMA, Manifest
from edgead.artifact.sealed_onnx import write_artifact
from edgead.artifact.specs import (
    SCORE,
    CompressionSpec,
    EngineSpec,
    InputSpec,
    MapSpec,
    ModelSpec,
    ParitySpec,
    PhotoSizes,
    QuantizationSpec,
    ScoreStatistics,
    TeacherSpec,
    ThresholdSpec,
    TrainingSpec,
    ViewSpec,
)

__all__ = [
    "FP16",
    "FP32",
    "INT8",
    "INT8_DYNAMIC",
    "INT8_TENSORRT",
    "KINDS",
    "ONNX_SUFFIX",
    "SCHEMA",
    "SCORE",
    "Artifact",
    "CompressionSpec",
    "Container",
    "EngineSpec",
    "InputSpec",
    "Kind",
    "Manifest",
    "MapSpec",
    "ModelSpec",
    "ParitySpec",
    "PhotoSizes",
    "QuantizationSpec",
    "ScoreStatistics",
    "TeacherSpec",
    "ThresholdSpec",
    "TrainingSpec",
    "ViewSpec",
    "kind_of",
    "read_artifact",
    "rebuild_command",
    "sidecar_path",
    "write_artifact",
    "write_engine",
]
