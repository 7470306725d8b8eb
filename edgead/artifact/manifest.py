"""What an artifact says about itself, validated field by field when it is read."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgead.contrast import GRID
from edgead.cpu import LARGEST_EXACT_WEIGHT
from edgead.errors import ArtifactError

SCHEMA = 1
"""Version of the manifest's layout. A reader refuses a newer one; additions keep the number."""


@dataclass(frozen=True)
class ModelSpec:
    """The network: its registered name, its size, and the options it was built with."""

    name: str
    parameters: int
    gmac: float
    options: dict[str, Any]

    def replace(self, **changes: Any) -> ModelSpec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class InputSpec:
    """The graph's input ``image``: ``[N, height, width, 3]``, and how photos are brought there."""

    height: int
    width: int
    dtype: str
    layout: str
    color: str
    resize: str

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.height, self.width


@dataclass(frozen=True)
class MapSpec:
    """The graph's output ``anomaly_map``: its cells, and the input pixels that they cover.

    ``top, left, bottom, right`` are in pixels of the network's input. Unpadded convolutions leave
    a border that no cell covers.
    """

    height: int
    width: int
    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True)
class ThresholdSpec:
    """The score above which a part is called anomalous, and where that number came from.

    Attributes:
        value: The score.
        method: Where it came from.
        false_positive_rate: The share of good parts that it aims to call anomalous; ``None`` where
            it was chosen on labelled photos.
        images: How many photos it was chosen on.
        note: A caveat, or empty.
        false_positive_interval: The rates that those photos cannot rule out, at 95 % confidence;
            ``None`` where there is no stated rate, and in files of earlier versions.
    """

    value: float
    method: str
    false_positive_rate: float | None
    images: int
    note: str
    false_positive_interval: tuple[float, float] | None = None

    @property
    def promise(self) -> str:
        """What it promises about good parts, and how far its photos show that; may be empty."""
        if self.false_positive_rate is None or self.false_positive_interval is None:
            return ""
        low, high = self.false_positive_interval
        return (
            f"set for {self.false_positive_rate:.2%} false alarms; its {self.images} photos rule "
            f"out more than {high:.1%}" + (f" and less than {low:.1%}" if low else "")
        )


@dataclass(frozen=True)
class ScoreStatistics:
    """Raw scores of the held-out good photos."""

    images: int
    mean: float
    std: float
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class TeacherSpec:
    """The pretrained network behind the detector: what it knows, from where, on which terms.

    Attributes:
        name: What its maker calls it.
        source: The network that it was distilled from, or the file that it came in.
        licence: What a user must know about its terms.
        sha256: Of its file.
        images: What it was distilled on; this and what follows where its file says so.
        recipe: How.
        validation: How well it learned.
        date: When.
    """

    name: str
    source: str
    licence: str
    sha256: str
    images: str | None = None
    recipe: str | None = None
    validation: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class PhotoSizes:
    """The smallest and largest height and width of some photos, in pixels."""

    lowest: int
    highest: int
    narrowest: int
    widest: int

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]]) -> PhotoSizes:
        """Summarise ``(height, width)`` of at least one photo."""
        heights, widths = zip(*sizes, strict=True)
        return cls(min(heights), max(heights), min(widths), max(widths))

    def is_near(self, size: tuple[int, int]) -> bool:
        """Whether a photo's ``(height, width)`` is at most a quarter outside."""
        return (
            0.8 * self.lowest <= size[0] <= 1.25 * self.highest
            and 0.8 * self.narrowest <= size[1] <= 1.25 * self.widest
        )

    def __str__(self) -> str:
        return f"{_span(self.narrowest, self.widest)}x{_span(self.lowest, self.highest)} px"


@dataclass(frozen=True)
class TrainingSpec:
    """Where the detector was trained, on how much, and how.

    ``photo_sizes`` are those of the held-out photos. ``least_contrast`` is the lowest that a good
    photo had in each cell of a grid (:mod:`edgead.contrast`), held-out ones and those learned from.
    Both are ``None`` in files of earlier versions.
    """

    dataset: str
    images: int
    held_out: int
    steps: int
    seed: int
    finished: str
    photo_sizes: PhotoSizes | None = None
    least_contrast: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ParitySpec:
    """How far this graph is from its source on the photos checked when it was exported.

    Differences are of the raw score; ``relative`` divides by the range of the reference scores.
    The rank correlation is Spearman's, over good photos and synthetic defects of them.
    """

    reference: str
    images: int
    max_score_diff: float
    max_score_diff_relative: float
    max_map_diff: float
    label_flips: int
    mean_score_diff_relative: float | None = None
    rank_correlation: float | None = None


@dataclass(frozen=True)
class QuantizationSpec:
    """How the weights and activations were made INT8.

    ``largest_weight`` is the bound on the magnitude of every INT8 weight.
    """

    method: str
    scheme: str
    calibrator: str | None
    images: int
    images_sha256: str | None
    float_nodes: tuple[str, ...] = ()
    largest_weight: int = 127


@dataclass(frozen=True)
class EngineSpec:
    """What a TensorRT engine was built from, how, and where; it only runs there.

    Attributes:
        tensorrt: Version, all four numbers.
        gpu: The driver's name for it.
        compute_capability: ``major.minor``.
        multiprocessors: Of the GPU.
        platform: Such as ``linux-aarch64``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        batch: Smallest, tuned and largest batch.
        shares_profile: Whether several execution contexts may be open at once.
        options: What else the build was told.
        onnx: Name of the artifact that it was built from.
        onnx_sha256: Of that file.
        sha256: Of the engine.
        build_seconds: How long the build took.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    platform: str
    precision: str
    batch: tuple[int, ...]
    shares_profile: bool
    options: dict[str, Any]
    onnx: str
    onnx_sha256: str
    sha256: str
    build_seconds: float


@dataclass(frozen=True)
class CompressionSpec:
    """How operations were taken out of the trained networks (docs/compression.md).

    ``directions``, ``channels`` and ``ranks`` say what was kept: principal directions of a
    difference of features, output channels of a convolution, and the inner channels of one that
    became two. ``predicted_loss`` is a share of the differences' energy.
    """

    gmac_before: float
    parameters_before: int
    predicted_loss: float
    directions: dict[str, Any]
    channels: dict[str, Any]
    ranks: dict[str, Any]
    images: int
    images_sha256: str


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
    schema: int = SCHEMA
    compression: CompressionSpec | None = None

    @property
    def name(self) -> str:
        """The variant's name: model, GMAC where compressed, precision; its default file name."""
        parts = [self.model.name]
        if self.compression is not None:
            parts.append(f"c{float(f'{self.model.gmac:.2g}'):g}")
        if self.precision != "fp32":
            parts.append(self.precision)
        return "-".join(parts)

    @property
    def detector(self) -> dict[str, Any]:
        """What tells one trained detector from another: its weights, and the options beside them.

        Some options, those of the map, change no weight.
        """
        return {"source_sha256": self.source_sha256, "options": self.model.options}

    @property
    def overflows_16_bits(self) -> bool:
        """Whether static INT8 weights may be too large for x86 without VNNI (docs/runtimes.md)."""
        is_bounded = (
            self.quantization is not None
            and self.quantization.largest_weight <= LARGEST_EXACT_WEIGHT
        )
        return self.precision == "int8" and not is_bounded

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Parse and validate a manifest.

        Args:
            text: The JSON text.
            where: The file it came from, for the error.

        Raises:
            ArtifactError: Not JSON, a newer schema, a missing key, or a value of the wrong type;
                names the key and both sides.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"the manifest of {where} is not valid JSON: {error}") from error
        if not isinstance(data, dict):
            raise ArtifactError(f"the manifest of {where} is not a JSON object")
        schema = data.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise ArtifactError(f"the manifest of {where} has no valid 'schema' number")
        if schema > SCHEMA:
            raise ArtifactError(
                f"{where} has manifest schema {schema} and this edgead reads up to {SCHEMA}: "
                "upgrade edgead here (pip install -U edgead) or export again with this version"
            )
        manifest = _build(cls, data, f"the manifest of {where}", "")
        assert isinstance(manifest, cls)
        manifest._check(where)
        return manifest

    def to_json(self) -> str:
        """Return the manifest as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    def replace(self, **changes: Any) -> Manifest:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def _check(self, where: str) -> None:
        fixed = {
            "input.dtype": (self.input.dtype, "uint8"),
            "input.layout": (self.input.layout, "NHWC"),
            "input.color": (self.input.color, "BGR"),
        }
        for key, (value, expected) in fixed.items():
            if value != expected:
                raise ArtifactError(
                    f"the manifest of {where} says {key} is {value!r}, but this edgead knows only "
                    f"{expected!r}: export the detector again with this version"
                )
        cells = self.training.least_contrast
        if cells is not None and len(cells) != GRID**2:
            raise ArtifactError(
                f"the manifest of {where} has training.least_contrast of {len(cells)} cells, but "
                f"it must be {GRID**2}: the file is damaged, export it again"
            )
        positive = {
            "input.height": self.input.height,
            "input.width": self.input.width,
            "map.height": self.map.height,
            "map.width": self.map.width,
            "map.bottom - map.top": self.map.bottom - self.map.top,
            "map.right - map.left": self.map.right - self.map.left,
        }
        for key, number in positive.items():
            if not number > 0:
                raise ArtifactError(
                    f"the manifest of {where} says {key} is {number}, but it must be above 0: "
                    "the file is damaged, export it again"
                )


def _build(kind: Any, value: Any, where: str, key: str) -> Any:
    """Turn a JSON value into ``kind``, or say which key is wrong and how."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise _wrong_type(where, key, "an object", value)
        hints = typing.get_type_hints(kind)
        arguments = {}
        for field in dataclasses.fields(kind):
            name = f"{key}.{field.name}" if key else field.name
            if field.name in value:
                arguments[field.name] = _build(hints[field.name], value[field.name], where, name)
            elif field.default is dataclasses.MISSING:
                raise ArtifactError(f"{where} lacks the key '{name}': export the detector again")
        return typing.cast(Any, kind)(**arguments)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (choice for choice in typing.get_args(kind) if choice is not type(None))
        return _build(kind, value, where, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong_type(where, key, "a list", value)
        item = typing.get_args(kind)[0]
        return tuple(_build(item, entry, where, f"{key}[{i}]") for i, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong_type(where, key, "an object", value)
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong_type(where, key, kind.__name__, value)
    if kind is float and not math.isfinite(value):
        raise ArtifactError(f"{where} has '{key}' = {value}, which is not a finite number")
    return value


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _wrong_type(where: str, key: str, expected: str, value: Any) -> ArtifactError:
    return ArtifactError(
        f"{where} has '{key}' of the wrong type: expected {expected}, found "
        f"{type(value).__name__} ({str(value)[:40]})"
    )
