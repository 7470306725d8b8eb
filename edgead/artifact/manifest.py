"""The manifest of an artifact, validated field by field when it is read."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from edgead import strict_json
from edgead.artifact import bounds
from edgead.artifact.kinds import FP32, Kind, engine_kind, kind_of
from edgead.artifact.specs import (
    CompressionSpec,
    EngineSpec,
    InputSpec,
    MapSpec,
    ModelSpec,
    ParitySpec,
    QuantizationSpec,
    ScoreStatistics,
    TeacherSpec,
    ThresholdSpec,
    TrainingSpec,
    ViewSpec,
)
from edgead.cpu import LARGEST_EXACT_WEIGHT
from edgead.errors import ArtifactError
from edgead.strict_json import Source

SCHEMA = 2
"""Version of the manifest's layout. A reader refuses a newer one; additions keep the number.

Files with a view have 2: a reader that passes over it would give other scores. All others have 1.
"""

_WITH_VIEW = 2

MOST_CHARACTERS = 1 << 20
"""Largest length of a manifest's JSON; those that edgead writes have a few thousand."""

_AGAIN = "export the detector again"


@dataclass(frozen=True)
class Manifest:
    """Everything a device needs to know to use the graph and trust its score."""

    edgead_version: str
    model: ModelSpec
    input: InputSpec
    map: MapSpec
    score: str
    threshold: ThresholdSpec
    score_statistics: ScoreStatistics
    precision: str
    source_sha256: str
    teacher: TeacherSpec | None
    training: TrainingSpec
    parity: ParitySpec | None = None
    quantization: QuantizationSpec | None = None
    gate: dict[str, Any] | None = None
    engine: EngineSpec | None = None
    schema: int = 1
    compression: CompressionSpec | None = None
    view: ViewSpec | None = None

    def __post_init__(self) -> None:
        if self.view is not None and self.schema < _WITH_VIEW:
            object.__setattr__(self, "schema", _WITH_VIEW)

    @property
    def name(self) -> str:
        """The variant's name: model, GMAC where compressed, precision; its default file name."""
        parts = [self.model.name]
        if self.compression is not None:
            parts.append(f"c{float(f'{self.model.gmac:.2g}'):g}")
        if self.precision != FP32.name:
            parts.append(self.precision)
        return "-".join(parts)

    @property
    def kind(self) -> Kind:
        """What ``precision`` stands for."""
        if self.engine is not None:
            return engine_kind(self.engine.precision)
        return kind_of(self.precision)

    @property
    def detector(self) -> dict[str, Any]:
        """The identity of a trained detector: its weights and options.

        Some options, those of the map, change no weight.
        """
        return {"source_sha256": self.source_sha256, "options": self.model.options}

    @property
    def overflows_16_bits(self) -> bool:
        """Whether static INT8 weights may be too large for x86 CPUs without VNNI.

        docs/notes/int8-weights.md has the reason.
        """
        is_bounded = (
            self.quantization is not None
            and self.quantization.largest_weight <= LARGEST_EXACT_WEIGHT
        )
        return self.kind.quantization == "static" and not is_bounded

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Parse and validate a manifest.

        Args:
            text: The JSON text.
            where: The file it came from, for the error.

        Raises:
            ArtifactError: Not JSON, a newer schema, a missing key, a value of the wrong type or out
                of its bounds; names the key and both sides.
        """
        if len(text) > MOST_CHARACTERS:
            raise ArtifactError(
                f"the manifest of {where} has {len(text):,} characters (limit: "
                f"{MOST_CHARACTERS:,}): {_AGAIN}"
            )
        source = Source(f"the manifest of {where}", ArtifactError, _AGAIN)
        data = strict_json.parse(text, source)
        if not isinstance(data, dict):
            source.fail("is not a JSON object")
        schema = data.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            source.fail("has no valid 'schema' number")
        if schema > SCHEMA:
            raise ArtifactError(
                f"{where} has manifest schema {schema}, but this version of edgead reads schemas "
                f"up to {SCHEMA}: upgrade edgead here (pip install -U edgead), or export again "
                "with this version"
            )
        manifest: Manifest = strict_json.build(cls, data, source)
        bounds.check(manifest, source)
        return manifest

    def to_json(self) -> str:
        """Return the manifest as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    def replace(self, **changes: Any) -> Manifest:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)
