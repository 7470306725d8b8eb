"""The sections of a manifest, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCORE = "maximum of anomaly_map"
"""Definition of the graph's output ``score`` in the manifest; thresholds depend on it."""


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
class ViewSpec:
    """What of a frame is judged, and at which scale (docs/reference/view.md).

    The cropped frame is resized to a canvas of ``rows x columns`` windows of the network's input
    size, of which neighbours share ``overlap`` pixels.

    Attributes:
        aspect: Width over height of the frames that it was made for.
        crop: ``(x, y, width, height)`` of the judged part, in fractions of the frame; ``None`` for
            the whole frame.
        rows: Windows down.
        columns: Windows across.
        overlap: Pixels of the network's input.
        keeps_aspect: Whether the aspect ratio of the frame is kept; what is left of the canvas is
            not judged.
        mask: Pixels of the canvas that are not judged, as text (:mod:`edgead.view.masks`); ``None``
            for none.
    """

    aspect: float
    crop: tuple[float, float, float, float] | None = None
    rows: int = 1
    columns: int = 1
    overlap: int = 0
    keeps_aspect: bool = False
    mask: str | None = None

    def replace(self, **changes: Any) -> ViewSpec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


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
    """The score above which a part is anomalous, and how it was chosen.

    Attributes:
        value: The score.
        method: How the threshold was chosen.
        false_positive_rate: Target share of good parts above the threshold; ``None`` for a
            threshold chosen on labelled photos.
        images: Number of photos that it was chosen on.
        note: A caveat, or empty.
        false_positive_interval: 95 % confidence interval of the false-alarm rate, from those
            photos; ``None`` without a target rate, and in files of earlier versions.
    """

    value: float
    method: str
    false_positive_rate: float | None
    images: int
    note: str
    false_positive_interval: tuple[float, float] | None = None

    @property
    def promise(self) -> str:
        """The target rate of false alarms and the rates its photos can confirm; may be empty."""
        if self.false_positive_rate is None or self.false_positive_interval is None:
            return ""
        low, high = self.false_positive_interval
        confirmed = (
            f"between {100 * low:.1f} and {100 * high:.1f} %"
            if low
            else f"below {100 * high:.1f} %"
        )
        return (
            f"target: {100 * self.false_positive_rate:.4g} % false alarms; {self.images} photos "
            f"can only confirm a rate {confirmed} (95 % confidence)"
        )


@dataclass(frozen=True)
class ScoreStatistics:
    """Statistics of the raw scores of the good validation photos."""

    images: int
    mean: float
    std: float
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class TeacherSpec:
    """The pretrained network behind the detector: origin, licence and training.

    Attributes:
        name: Name given by its author.
        source: The network that it was distilled from, or the file that it came in.
        licence: Licence terms that a user must know.
        sha256: SHA-256 of its file.
        images: The photos that it was distilled on; ``None``, like the following attributes, if
            its file does not record it.
        recipe: Settings of the distillation.
        validation: Error on validation photos.
        date: Date of the distillation.
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
    """The training of the detector.

    ``photo_sizes`` are the sizes of the validation photos. ``least_contrast`` is the lowest
    contrast of the good photos in each cell of a grid (:mod:`edgead.contrast`), from training and
    validation photos without the ``contrast_left_out`` photos that have almost no contrast. All
    three are ``None`` in files of earlier versions.
    """

    dataset: str
    images: int
    held_out: int
    steps: int
    seed: int
    finished: str
    photo_sizes: PhotoSizes | None = None
    least_contrast: tuple[float, ...] | None = None
    contrast_left_out: int | None = None


@dataclass(frozen=True)
class ParitySpec:
    """Difference between this graph and its source on the photos checked at export.

    Differences of the raw score; ``relative``: divided by the range of the reference scores.
    The rank correlation is Spearman's, over good photos and the same photos with synthetic defects.
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
    """The quantization of weights and activations to INT8.

    ``largest_weight`` is the bound on the magnitude of every INT8 weight. ``runtimes`` names the
    runtimes whose scores the threshold was fitted to, where others give different scores; ``auto``
    takes these first. It is empty where every runtime gives the same scores.
    """

    method: str
    scheme: str
    calibrator: str | None
    images: int
    images_sha256: str | None
    largest_weight: int = 127
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineSpec:
    """The build of a TensorRT engine; it only runs where it was built.

    Attributes:
        tensorrt: TensorRT version, all four numbers.
        gpu: Name of the GPU from the driver.
        compute_capability: ``major.minor``.
        multiprocessors: Number of multiprocessors of the GPU.
        platform: Platform, such as ``linux-aarch64``.
        precision: Precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        batch: Smallest, tuned and largest batch size.
        shares_profile: Whether several execution contexts may be open at once.
        options: Other options of the build.
        onnx: Name of the artifact that it was built from.
        onnx_sha256: SHA-256 of that file.
        sha256: SHA-256 of the engine.
        build_seconds: Duration of the build.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    platform: str
    precision: str
    batch: tuple[int, int, int]
    shares_profile: bool
    options: dict[str, Any]
    onnx: str
    onnx_sha256: str
    sha256: str
    build_seconds: float


@dataclass(frozen=True)
class CompressionSpec:
    """The compression of the trained networks (docs/notes/compression-method.md).

    ``directions``, ``channels`` and ``ranks`` list what was kept: principal directions of a
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


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
