"""The tables of a comparison as rows of text, for Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgead.artifact import FP32
from edgead.compare import survey
from edgead.compare.comparison import Comparison
from edgead.compare.results import Detector, Variant, pareto_front
from edgead.progress import duration

EMPTY = "-"


@dataclass(frozen=True)
class Row:
    """One subject of the comparison table, with one cell for each detector."""

    subject: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    """A detector with its variants in the table."""

    detector: Detector
    fp32: Variant | None
    fastest: Variant | None
    int8: Variant | None

    @classmethod
    def of(cls, detector: Detector, comparison: Comparison) -> _Column:
        timed = comparison.of(detector.label)
        return cls(
            detector,
            next((v for v in timed if v.kind == FP32), None),
            next(iter(timed), None),
            next((v for v in timed if v.kind.is_int8), None),
        )


def survey_table(comparison: Comparison) -> list[Row]:
    """Return the comparison table: the rows of the survey's table, measured here.

    A column is a detector; where it has several variants, accuracy and memory are those of FP32
    in its fastest runtime, unless the row says otherwise.
    """
    columns = [_Column.of(detector, comparison) for detector in comparison.detectors]
    subjects: list[tuple[str, Callable[[_Column], str]]] = [
        ("published", _year),
        ("teacher", lambda c: survey.structure(c.detector.model).get("teacher", EMPTY)),
        ("student", lambda c: survey.structure(c.detector.model).get("student", EMPTY)),
        ("other networks", lambda c: survey.structure(c.detector.model).get("extra", EMPTY)),
        ("loss", lambda c: survey.structure(c.detector.model).get("loss", EMPTY)),
        ("pretrained weights", lambda c: c.detector.teacher or "none"),
        ("parameters", lambda c: f"{c.detector.parameters / 1e6:.2f} M"),
        ("GMAC per image", lambda c: f"{c.detector.gmac:.2f}"),
        ("training", _training),
        ("image AUROC, FP32", lambda c: _of(c.fp32, "image_auroc")),
        ("image AUROC, INT8", _int8_auroc),
        ("pixel AUROC, FP32", lambda c: _of(c.fp32, "pixel_auroc")),
        ("AU-PRO, FP32", lambda c: _of(c.fp32, "au_pro")),
        ("latency, FP32", lambda c: _latency(c.fp32)),
        ("latency, fastest", lambda c: _latency(c.fastest, named=True)),
        ("frames per second, fastest", _fps),
        ("peak memory, FP32", lambda c: _memory(c.fp32)),
        ("file, FP32 / INT8", _files),
    ]
    return [
        Row(subject, tuple(measured(column) for column in columns))
        for subject, measured in subjects
    ]


VARIANT_HEAD = (
    "detector",
    "precision",
    "runtime",
    "image AUROC",
    "pixel AUROC",
    "AU-PRO",
    "p50 ms",
    "p90 ms",
    "x fastest",
    "FPS",
    "memory MiB",
    "file MB",
    "front",
)


def variant_table(comparison: Comparison, device: str) -> list[tuple[Variant, tuple[str, ...]]]:
    """Return every variant of a device with the cells under :data:`VARIANT_HEAD`."""
    variants = [v for v in comparison.variants if v.device == device]
    front = pareto_front(variants)
    timed = [v.latency.p50 for v in variants if v.latency is not None]
    rows: list[tuple[Variant, tuple[str, ...]]] = []
    for variant in variants:
        latency = variant.latency
        doubt = "?" if latency is not None and latency.doubt else ""
        rows.append(
            (
                variant,
                (
                    variant.detector,
                    variant.precision.upper(),
                    variant.runtime,
                    _figure(variant.image_auroc),
                    _figure(variant.pixel_auroc),
                    _figure(variant.au_pro),
                    EMPTY if latency is None else f"{latency.p50:.2f}{doubt}",
                    EMPTY if latency is None or latency.p90 is None else f"{latency.p90:.2f}",
                    EMPTY if latency is None else f"{latency.p50 / min(timed):.1f}",
                    EMPTY if latency is None else f"{latency.fps:.1f}",
                    EMPTY if variant.memory_mib is None else f"{variant.memory_mib:.0f}",
                    f"{variant.size_bytes / 1e6:.2f}",
                    "yes" if variant in front else "",
                ),
            )
        )
    return rows


def _year(column: _Column) -> str:
    family = survey.family(column.detector.model)
    return EMPTY if family is None else str(family.year)


def _training(column: _Column) -> str:
    detector = column.detector
    seconds = detector.training_seconds
    took = "time not recorded" if seconds is None else duration(seconds)
    return f"{took}, {detector.steps:,} steps" if detector.steps else took


def _int8_auroc(column: _Column) -> str:
    if column.int8 is None or column.int8.image_auroc is None:
        return EMPTY
    text = _figure(column.int8.image_auroc)
    if column.fp32 is None or column.fp32.image_auroc is None:
        return text
    return f"{text} ({100 * (column.int8.image_auroc - column.fp32.image_auroc):+.2f} points)"


def _latency(variant: Variant | None, named: bool = False) -> str:
    if variant is None or variant.latency is None:
        return EMPTY
    text = f"{variant.latency.p50:.1f} ms"
    kind = f"{variant.precision.upper()}, " if named else ""
    return f"{text} ({kind}{variant.runtime})"


def _fps(column: _Column) -> str:
    fastest = column.fastest
    return EMPTY if fastest is None or fastest.latency is None else f"{fastest.latency.fps:.0f}"


def _memory(variant: Variant | None) -> str:
    if variant is None or variant.memory_mib is None:
        return EMPTY
    return f"{variant.memory_mib:.0f} MiB"


def _files(column: _Column) -> str:
    sizes = [
        EMPTY if variant is None else f"{variant.size_bytes / 1e6:.1f}"
        for variant in (column.fp32, column.int8)
    ]
    return f"{' / '.join(sizes)} MB"


def _of(variant: Variant | None, metric: str) -> str:
    return EMPTY if variant is None else _figure(getattr(variant, metric))


def _figure(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.4f}"
