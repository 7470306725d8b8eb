"""The artifact: one exported file that describes itself."""

from edgead.artifact.artifact import Artifact, read_artifact, write_artifact
from edgead.artifact.manifest import (
    SCHEMA,
    InputSpec,
    Manifest,
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
    "Artifact",
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
    "write_artifact",
]
