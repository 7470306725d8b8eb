"""Which of the measured variants to take, under the user's limits, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgead.compare.results import HERE, Variant
from edgead.errors import UsageError

EQUAL_AUROC = 0.005
"""Image AUROCs this close count as equal, and then the faster one wins: half a point, as in the
accuracy gate of the export."""


@dataclass(frozen=True)
class Constraints:
    """What the user needs; ``None`` is no limit.

    Attributes:
        max_latency_ms: Largest 90th-percentile latency of a whole frame.
        max_memory_mib: Largest peak resident memory of a process that only predicts.
        min_auroc: Least image AUROC.
        device: Where latency and memory must hold.
    """

    max_latency_ms: float | None = None
    max_memory_mib: float | None = None
    min_auroc: float | None = None
    device: str = HERE

    def __post_init__(self) -> None:
        for name, value in (
            ("--max-latency", self.max_latency_ms),
            ("--max-memory", self.max_memory_mib),
        ):
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be above 0, not {value:g}")
        if self.min_auroc is not None and not 0 < self.min_auroc <= 1:
            raise UsageError(
                f"--min-auroc must be above 0 and at most 1, not {self.min_auroc:g}; "
                "98 % is written 0.98"
            )

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        limits = (self.max_latency_ms, self.max_memory_mib, self.min_auroc)
        return any(limit is not None for limit in limits)

    def misses(self, variant: Variant) -> tuple[Miss, ...]:
        """Return the limits that a variant does not keep, or that cannot be checked on it."""
        found = (
            (
                "latency",
                self.max_latency_ms,
                None if variant.latency is None else variant.latency.to_rely_on,
            ),
            ("memory", self.max_memory_mib, variant.memory_mib),
            ("image AUROC", self.min_auroc, variant.image_auroc),
        )
        return tuple(
            miss
            for what, limit, value in found
            if limit is not None and (miss := Miss(what, limit, value)).size > 0
        )


@dataclass(frozen=True)
class Miss:
    """A limit that a variant does not keep; ``found`` is ``None`` where it was not measured."""

    what: str
    limit: float
    found: float | None

    @property
    def size(self) -> float:
        """How far off, as a share: 1 is twice the latency, memory or error (1 - AUROC) allowed."""
        if self.found is None:
            return float("inf")
        if self.what == "image AUROC":
            return max(0.0, (self.limit - self.found) / max(1 - self.limit, EQUAL_AUROC))
        return max(0.0, self.found / self.limit - 1)

    def __str__(self) -> str:
        units = {"latency": " ms", "memory": " MiB", "image AUROC": ""}
        digits = {"latency": ".1f", "memory": ".0f", "image AUROC": ".4f"}
        unit, form = units[self.what], digits[self.what]
        if self.found is None:
            return (
                f"{self.what} was not measured, so the limit of {self.limit:g}{unit} cannot be "
                "checked"
            )
        side = "below" if self.found < self.limit else "above"
        off = f"{abs(self.found - self.limit):{form}}{unit}"
        return (
            f"{self.what} is {self.found:{form}}{unit}, {off} {side} the limit of "
            f"{self.limit:g}{unit}"
        )


@dataclass(frozen=True)
class Recommendation:
    """What to take.

    Attributes:
        chosen: The best variant that keeps every limit; ``None`` where none does.
        nearest: Where none does, the one that misses by least.
        misses: What the nearest misses.
        reasons: Sentences.
    """

    chosen: Variant | None
    nearest: Variant | None
    misses: tuple[Miss, ...]
    reasons: tuple[str, ...]


def recommend(variants: Sequence[Variant], constraints: Constraints) -> Recommendation:
    """Choose among the variants measured on one device.

    Those that miss a limit are out. Where accuracy alone is limited, more of it buys nothing, and
    the fastest of the rest is taken. Otherwise the most accurate one is, and among equals
    (:data:`EQUAL_AUROC`) the fastest.

    Args:
        variants: All variants, of any device.
        constraints: The limits and the device they must hold on.
    """
    measured = [v for v in variants if v.device == constraints.device and v.latency is not None]
    if not measured:
        reason = f"nothing was measured on {constraints.device}"
        return Recommendation(None, None, (), (reason,))
    fitting = [v for v in measured if not constraints.misses(v)]
    if not fitting:
        return _nearest(measured, constraints)
    if _only_accuracy_is_limited(constraints) or all(v.image_auroc is None for v in fitting):
        chosen = min(fitting, key=_speed)
    else:
        best = max(v.image_auroc or 0.0 for v in fitting)
        equal = [v for v in fitting if (v.image_auroc or 0.0) >= best - EQUAL_AUROC]
        chosen = min(equal, key=_speed)
    return Recommendation(chosen, None, (), _reasons(chosen, fitting, measured, constraints))


def _only_accuracy_is_limited(constraints: Constraints) -> bool:
    return (
        constraints.min_auroc is not None
        and constraints.max_latency_ms is None
        and constraints.max_memory_mib is None
    )


def _nearest(measured: Sequence[Variant], constraints: Constraints) -> Recommendation:
    def distance(variant: Variant) -> tuple[float, float, float]:
        sizes = [miss.size for miss in constraints.misses(variant)]
        return max(sizes), sum(sizes), _speed(variant)

    nearest = min(measured, key=distance)
    misses = constraints.misses(nearest)
    count = (
        f"none of the {len(measured)} variants measured on {nearest.device} is within every limit"
    )
    reasons = [f"{count}; the nearest is {nearest.name}: {'; '.join(str(miss) for miss in misses)}"]
    for what in ("latency", "memory", "image AUROC"):
        every = [next((m for m in constraints.misses(v) if m.what == what), None) for v in measured]
        if all(every):
            kept = min((m for m in every if m is not None), key=lambda m: m.size)
            reasons.append(f"no variant is within that limit: the best {kept}")
    return Recommendation(None, nearest, misses, tuple(reasons))


def _reasons(
    chosen: Variant,
    fitting: Sequence[Variant],
    measured: Sequence[Variant],
    constraints: Constraints,
) -> tuple[str, ...]:
    reasons = []
    if constraints.any:
        reasons.append(
            f"{len(fitting)} of the {len(measured)} variants measured on {chosen.device} are "
            f"within every limit ({_limits(constraints)})"
        )
    assert chosen.latency is not None
    speed = f"{chosen.latency.p50:.1f} ms ({chosen.latency.fps:.0f} frames per second)"
    if chosen.image_auroc is None:
        reasons.append(
            f"the accuracy is unknown, because the data has no labelled defects; {chosen.name} is "
            f"the fastest of these: {speed}"
        )
        return tuple(reasons)
    best = max(fitting, key=lambda v: v.image_auroc or 0.0)
    assert best.image_auroc is not None
    if _only_accuracy_is_limited(constraints):
        reasons.append(
            f"only accuracy has a limit, so the fastest of these is chosen: {speed} with image "
            f"AUROC {chosen.image_auroc:.4f}"
        )
    elif best.image_auroc - chosen.image_auroc > 1e-9:
        slower = f" and takes {_ratio(best, chosen)} as long" if best.latency else ""
        reasons.append(
            f"{best.name} has the highest image AUROC, {best.image_auroc:.4f}{slower}; "
            f"{chosen.name} is the fastest variant within {100 * EQUAL_AUROC:g} points of it, with "
            f"{chosen.image_auroc:.4f}: {speed}"
        )
    else:
        reasons.append(
            f"no variant is more accurate (image AUROC {chosen.image_auroc:.4f}), and none of the "
            f"same accuracy is faster: {speed}"
        )
    better = [v for v in measured if v not in fitting and _above(v, chosen)]
    if better:
        most = max(better, key=lambda v: v.image_auroc or 0.0)
        out = "; ".join(str(miss) for miss in constraints.misses(most))
        reasons.append(f"{most.name} is more accurate ({most.image_auroc:.4f}), but its {out}")
    return tuple(reasons)


def _above(variant: Variant, chosen: Variant) -> bool:
    return (variant.image_auroc or 0.0) > (chosen.image_auroc or 0.0) + EQUAL_AUROC


def _limits(constraints: Constraints) -> str:
    limits = (
        ("latency at most {:g} ms", constraints.max_latency_ms),
        ("memory at most {:g} MiB", constraints.max_memory_mib),
        ("image AUROC at least {:g}", constraints.min_auroc),
    )
    return ", ".join(text.format(limit) for text, limit in limits if limit is not None)


def _ratio(slow: Variant, fast: Variant) -> str:
    assert slow.latency is not None
    assert fast.latency is not None
    return f"{slow.latency.p50 / fast.latency.p50:.1f} times"


def _speed(variant: Variant) -> float:
    assert variant.latency is not None
    return variant.latency.p50
