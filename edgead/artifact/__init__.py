"""The artifact: one exported file that describes itself."""

from edgead.artifact.artifact import Artifact, read_artifact, write_artifact
from edgead.artifact.engine import rebuild_command, sidecar_path, write_engine
from edgead.artifact.manifest import SCHEMA, Manifest
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
)

__all__ = [
    "SCHEMA",
    "SCORE",
    "Artifact",
    "CompressionSpec",
    "EngineSpec",
    "InputSpec",
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
    "read_artifact",
    "rebuild_command",
    "sidecar_path",
    "write_artifact",
    "write_engine",
]
