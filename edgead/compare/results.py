"""What a comparison found, as values, and their JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgead.artifact import Kind, kind_of

HERE = "here"
"""The device name of the machine that the comparison ran on."""


@dataclass(frozen=True)
class Detector:
    """A trained detector that takes part.

    Attributes:
        label: Its name in this comparison.
        model: Registered name of the network.
        run: Its run folder.
        parameters: Weights and biases.
        gmac: Multiply-accumulates of one image, in billions.
        steps: Training steps.
        training_photos: Number of training photos.
        training_seconds: Duration of the training; ``None`` if the run did not record it.
        teacher: Name of its pretrained network, or ``None``.
        notes: Caveats.
    """

    label: str
    model: str
    run: str
    parameters: int
    gmac: float
    steps: int
    training_photos: int
    training_seconds: float | None
    teacher: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Milliseconds of whole frames, single-stream.

    Attributes:
        p50: Median.
        p90: ``None`` where the samples do not support it.
        mean: Mean; FPS is computed from it.
        maximum: The slowest frame.
        samples: Frames measured.
        doubt: Why the latency is not reliable, or ``None``.
    """

    p50: float
    p90: float | None
    mean: float
    maximum: float
    samples: int
    doubt: str | None = None

    @property
    def fps(self) -> float:
        """Frames a second."""
        return 1000 / self.mean

    @property
    def to_rely_on(self) -> float:
        """The latency compared with a limit: the 90th percentile, or the maximum of few frames."""
        return self.maximum if self.p90 is None else self.p90


@dataclass(frozen=True)
class Variant:
    """One exported file in one runtime on one device.

    Attributes:
        detector: Label of the detector.
        model: Registered name of its network.
        precision: ``"fp32"`` and so on.
        runtime: Name of the runtime.
        device: :data:`HERE`, or the name of a device measured elsewhere.
        file: Exported file, relative to the comparison's folder.
        sha256: The artifact's seal.
        size_bytes: Size of the file.
        image_auroc: Image AUROC on the labelled photos, or ``None``.
        pixel_auroc: Pixel AUROC, or ``None``.
        au_pro: AU-PRO, or ``None``.
        false_positives: Good photos called anomalous; ``None`` without labelled photos.
        misses: Defective photos called good; ``None`` without labelled photos.
        latency: Latency of whole frames; ``None`` where it was not measured.
        memory_mib: Peak resident memory of a process that only predicts.
        note: Source of a value that was not measured in this row.
    """

    detector: str
    model: str
    precision: str
    runtime: str
    device: str
    file: str
    sha256: str
    size_bytes: int
    image_auroc: float | None = None
    pixel_auroc: float | None = None
    au_pro: float | None = None
    false_positives: int | None = None
    misses: int | None = None
    latency: Latency | None = None
    memory_mib: float | None = None
    note: str = ""

    @property
    def kind(self) -> Kind:
        """What ``precision`` stands for."""
        return kind_of(self.precision)

    @property
    def name(self) -> str:
        """Detector, precision and runtime, for sentences."""
        return f"{self.detector} {self.precision.upper()} in {self.runtime}"

    def replace(self, **changes: Any) -> Variant:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on; null where a value does not apply."""
        latency = self.latency
        values = {name: value for name, value in vars(self).items() if name != "latency"}
        return {
            **values,
            "latency_ms": None
            if latency is None
            else {
                "p50": latency.p50,
                "p90": latency.p90,
                "mean": latency.mean,
                "max": latency.maximum,
            },
            "fps": latency and latency.fps,
            "samples": latency and latency.samples,
            "doubt": latency and latency.doubt,
        }


@dataclass(frozen=True)
class LeftOut:
    """Something that the comparison could not or did not measure, and what to do about it."""

    what: str
    reason: str


def pareto_front(variants: list[Variant]) -> list[Variant]:
    """Return the variants that no other one beats in both median latency and image AUROC.

    Fastest first; variants without either figure are left out.
    """
    measured = [v for v in variants if v.latency is not None and v.image_auroc is not None]
    front: list[Variant] = []
    for variant in sorted(measured, key=lambda v: (_p50(v), -(v.image_auroc or 0.0))):
        if not front or (variant.image_auroc or 0.0) > (front[-1].image_auroc or 0.0):
            front.append(variant)
    return front


def _p50(variant: Variant) -> float:
    assert variant.latency is not None
    return variant.latency.p50
