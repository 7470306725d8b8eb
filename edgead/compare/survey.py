"""The methods and the questions of the survey behind this project, answered by measurement.

Its claims are not repeated in reports: docs/notes/survey.md compares each with its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgead.compare.recommend import Constraints, recommend
from edgead.compare.results import Detector, Variant
from edgead.teaching import DETECTORS

REAL_TIME_FPS = 30.0


@dataclass(frozen=True)
class Family:
    """A published method and the networks it consists of.

    Attributes:
        year: Year of the publication.
        teacher: The fixed network, as published.
        student: The trained network, as published.
        extra: Further networks, as published.
        loss: The loss, as published.
    """

    year: int
    teacher: str
    student: str
    extra: str
    loss: str


_STFPM = Family(
    year=2021,
    teacher="ResNet-18, layers 1-3, frozen",
    student="the same network from scratch",
    extra="none",
    loss="squared distance of normalised features",
)
_REVERSE = Family(
    year=2022,
    teacher="WideResNet-50-2, layers 1-3, frozen",
    student="decoder that never sees the photo",
    extra="trained bottleneck between them",
    loss="cosine distance",
)
_EFFICIENTAD = Family(
    year=2024,
    teacher="patch description network, distilled, frozen",
    student="the same with twice the outputs",
    extra="autoencoder of the features",
    loss="hardest features, penalty, autoencoder",
)
_PATCHCORE = Family(
    year=2022,
    teacher="WideResNet-50-2, layers 2-3, frozen",
    student="none: a bank of patch vectors of good photos",
    extra="none",
    loss="none: distance to the nearest vector",
)
_PADIM = Family(
    year=2021,
    teacher="WideResNet-50-2, layers 1-3, frozen",
    student="none: a Gaussian of good photos at each place",
    extra="none",
    loss="none: Mahalanobis distance",
)
FAMILIES = {
    "patchcore": _PATCHCORE,
    "padim": _PADIM,
    "stfpm": _STFPM,
    "stfpm-lite0": _STFPM,
    "reverse-distillation": _REVERSE,
    "reverse-distillation-resnet18": _REVERSE,
    "reverse-distillation-lite0": _REVERSE,
    "efficientad-n": _EFFICIENTAD,
    "efficientad-s": _EFFICIENTAD,
    "efficientad-m": _EFFICIENTAD,
    "efficientad-survey": _EFFICIENTAD,
    "efficientad-lite0": _EFFICIENTAD,
}
"""Published method of each detector of edgead; a package's detector may have any name."""

_OWN_NETWORKS = {
    "patchcore": {"teacher": "EfficientNet-Lite0, frozen"},
    "padim": {"teacher": "EfficientNet-Lite0, frozen"},
    "reverse-distillation-resnet18": {"teacher": "ResNet-18, layers 1-3, frozen"},
    "reverse-distillation-lite0": {
        "teacher": "EfficientNet-Lite0, stages 5 and 6, frozen",
        "extra": "trained bottleneck between them; Gaussians of good photos at each place",
    },
    "stfpm-lite0": {
        "teacher": "EfficientNet-Lite0, stages 5 and 6, frozen",
        "student": "the same two stages, on the teacher's stage 4",
        "extra": "Gaussians of good photos at each place",
    },
    "efficientad-lite0": {
        "teacher": "EfficientNet-Lite0, stages 5 and 6, frozen",
        "student": "the same two stages, on the teacher's stage 4",
        "extra": "autoencoder of the features; Gaussians of good photos at each place",
    },
    "efficientad-survey": {
        "teacher": "4 stride-2 convolutions, fine-tuned on the good photos",
        "student": "the same network",
        "extra": "autoencoder of the photo",
        "loss": "squared distance, plus half the reconstruction error",
    },
}


def family(model: str) -> Family | None:
    """Return the method that a registered detector belongs to; ``None`` for others."""
    return FAMILIES.get(model)


def structure(model: str) -> dict[str, str]:
    """Return teacher, student, extra and loss of a registered detector; empty for others."""
    found = family(model)
    if found is None:
        return {}
    named = {name: getattr(found, name) for name in ("teacher", "student", "extra", "loss")}
    return {**named, **_OWN_NETWORKS.get(model, {})}


@dataclass(frozen=True)
class Branch:
    """A question of the decision tree, the survey's answer, and the measured one."""

    question: str
    survey: str
    measured: str


def decision_tree(
    variants: Sequence[Variant], detectors: Sequence[Detector], device: str
) -> list[Branch]:
    """Answer the questions from the variants measured on one device."""
    measured = [v for v in variants if v.device == device and v.latency is not None]
    if not measured:
        return []
    return [
        Branch("Is the highest accuracy a must?", "Reverse Distillation", _most_accurate(measured)),
        Branch("Must it run in real time?", "EfficientAd", _fastest(measured)),
        Branch("Is it for an edge device?", "EfficientAd, the only choice", _smallest(measured)),
        Branch("Is a prototype wanted soon?", "STFPM", _soonest(detectors)),
        Branch(
            "Are there few photos, or no machine to train on?",
            "not asked",
            _taught(measured, detectors),
        ),
        Branch(
            "Is balance wanted?",
            "EfficientAd or Reverse Distillation",
            _balanced(measured, device),
        ),
    ]


def _most_accurate(measured: Sequence[Variant]) -> str:
    known = [v for v in measured if v.image_auroc is not None]
    if not known:
        return "cannot be answered: the data has no labelled defects"
    # The same detector in several precisions is one answer.
    best: dict[str, Variant] = {}
    for variant in known:
        if _auroc(variant) > _auroc(best.get(variant.detector)):
            best[variant.detector] = variant
    first, *others = sorted(best.values(), key=_auroc, reverse=True)
    text = f"{first.detector}: image AUROC {_auroc(first):.4f} ({first.precision.upper()})"
    return text + (f", then {others[0].detector} with {_auroc(others[0]):.4f}" if others else "")


def _fastest(measured: Sequence[Variant]) -> str:
    fastest = min(measured, key=_p50)
    assert fastest.latency is not None
    reach = sorted({v.detector for v in measured if v.latency and v.latency.fps >= REAL_TIME_FPS})
    return (
        f"{fastest.name}: {fastest.latency.p50:.1f} ms, {fastest.latency.fps:.0f} frames per "
        f"second; detectors with {REAL_TIME_FPS:.0f} or more: {', '.join(reach) or 'none'}"
    )


def _smallest(measured: Sequence[Variant]) -> str:
    file = min(measured, key=lambda v: v.size_bytes)
    text = f"all of them ran on this device; smallest file: {file.name}, {_mb(file.size_bytes)}"
    with_memory = [v for v in measured if v.memory_mib is not None]
    if with_memory:
        least = min(with_memory, key=lambda v: v.memory_mib or 0.0)
        text += f"; least memory: {least.name}, {least.memory_mib:.0f} MiB"
    return text


def _soonest(detectors: Sequence[Detector]) -> str:
    timed = [d for d in detectors if d.training_seconds is not None]
    if not timed:
        return "cannot be answered: no training time was recorded"
    first = min(timed, key=lambda d: d.training_seconds or 0.0)
    steps = f" for {first.steps} steps" if first.steps else ""
    return f"{first.label}: {_minutes(first.training_seconds or 0.0)}{steps}"


def _taught(measured: Sequence[Variant], detectors: Sequence[Detector]) -> str:
    photos = {d.label: d.training_photos for d in detectors if d.model in DETECTORS}
    theirs = [v for v in measured if v.detector in photos]
    if not theirs:
        return (
            "a taught detector (edgead teach), from one photo on, also on the device; none was "
            f"compared: name one in --models ({', '.join(DETECTORS)})"
        )
    best = max(theirs, key=lambda v: (_auroc(v), -_p50(v)))
    count = photos[best.detector]
    text = f"{best.name}, taught with {count} photo{'' if count == 1 else 's'}: {_p50(best):.1f} ms"
    if best.image_auroc is None:
        return f"{text}; its accuracy is unknown, because the data has no labelled defects"
    text += f", image AUROC {_auroc(best):.4f}"
    others = [v for v in measured if v.detector not in photos]
    if others:
        trained = max(others, key=_auroc)
        text += (
            f"; the most accurate trained detector, {trained.detector}, has {_auroc(trained):.4f}"
        )
    return text


def _balanced(measured: Sequence[Variant], device: str) -> str:
    found = recommend(measured, Constraints(device=device))
    assert found.chosen is not None
    return f"{found.chosen.name}: {found.reasons[-1]}"


def _auroc(variant: Variant | None) -> float:
    return -1.0 if variant is None or variant.image_auroc is None else variant.image_auroc


def _p50(variant: Variant) -> float:
    assert variant.latency is not None
    return variant.latency.p50


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _minutes(seconds: float) -> str:
    from edgead.progress import duration

    return duration(seconds)
