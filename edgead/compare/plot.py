"""Accuracy against latency as an SVG, drawn by hand: no plotting library, no script."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from edgead import page
from edgead.compare.results import Variant, pareto_front

COLOURS = ("#1f6fb2", "#d1762a", "#2f8a5f", "#8a4fae", "#b03a48", "#5d6b78", "#a58b17", "#138a94")
_WIDTH, _HEIGHT = 1000, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 18, 54
_DOT = 6.5
_LINE_HEIGHT = 16


def accuracy_against_latency(variants: Sequence[Variant], device: str) -> str:
    """Draw image AUROC over median latency (logarithmic), with the Pareto front.

    Colour is the detector, the mark's shape the precision; marks of runtimes other than the first
    are hollow. The front's detectors carry their names.

    Returns:
        SVG, or an empty text where there is nothing to draw.
    """
    shown = [
        v
        for v in variants
        if v.device == device and v.latency is not None and v.image_auroc is not None
    ]
    if not shown:
        return ""
    axes = _Axes(shown)
    colours = detector_colours(variants)
    runtimes = list(dict.fromkeys(v.runtime for v in shown))
    front = pareto_front(shown)
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        "aria-label='image AUROC against latency'>",
        *axes.draw(),
        _front_line(front, axes),
    ]
    for variant in shown:
        x, y = axes.at(variant)
        colour, solid = colours[variant.detector], variant.runtime == runtimes[0]
        fill = colour if solid else "#ffffff"
        parts.append(
            f"<g fill='{fill}' stroke='{colour}' stroke-width='2'>"
            f"{_mark(variant.precision, x, y)}<title>{html.escape(_hover(variant))}</title></g>"
        )
    parts += _names(front, axes)
    return "".join(parts) + "</svg>" + _legend(shown, colours, runtimes)


def detector_colours(variants: Sequence[Variant]) -> dict[str, str]:
    """Give every detector a colour, in order of appearance."""
    labels = dict.fromkeys(variant.detector for variant in variants)
    return {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}


class _Axes:
    """Where a value lies on the picture."""

    def __init__(self, shown: Sequence[Variant]) -> None:
        latencies = [_p50(v) for v in shown]
        self.low, self.high = min(latencies) / 1.6, max(latencies) * 1.8
        lowest = min(v.image_auroc or 0.0 for v in shown)
        span = max(1 - lowest, 0.05)
        self.bottom, self.top = max(0.0, lowest - 0.12 * span), 1 + 0.05 * span

    def at(self, variant: Variant) -> tuple[float, float]:
        return self.x(_p50(variant)), self.y(variant.image_auroc or 0.0)

    def x(self, milliseconds: float) -> float:
        share = math.log(milliseconds / self.low) / math.log(self.high / self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, auroc: float) -> float:
        share = (auroc - self.bottom) / (self.top - self.bottom)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def draw(self) -> list[str]:
        floor = _HEIGHT - _BOTTOM
        parts = []
        for tick in _log_ticks(self.low, self.high):
            x = self.x(tick)
            parts.append(
                f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{floor}' "
                f"stroke='{page.LINE_COLOUR}'/>"
                f"<text x='{x:.1f}' y='{floor + 18}' text-anchor='middle'>{tick:g}</text>"
            )
        for tick in _linear_ticks(self.bottom, min(self.top, 1.0)):
            y = self.y(tick)
            parts.append(
                f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' "
                f"stroke='{page.LINE_COLOUR}'/>"
                f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{tick:g}</text>"
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f"<text x='{middle}' y='{_HEIGHT - 8}' text-anchor='middle'>median latency of a whole "
            "frame, ms (logarithmic)</text>"
            f"<text transform='translate(14 {(_TOP + floor) / 2}) rotate(-90)' "
            "text-anchor='middle'>image AUROC</text>"
        )
        return parts


def _front_line(front: Sequence[Variant], axes: _Axes) -> str:
    """Draw the front as steps: up to the next variant's latency, nothing better is to be had."""
    points: list[tuple[float, float]] = []
    for variant in front:
        x, y = axes.at(variant)
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    points.append((_WIDTH - _RIGHT, points[-1][1]))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f"<polyline points='{path}' fill='none' stroke='{page.INK_COLOUR}' stroke-width='1.5' "
        "stroke-dasharray='5 4'/>"
    )


def _names(front: Sequence[Variant], axes: _Axes) -> list[str]:
    """Name each of the front's detectors once, under its fastest mark, lower where two overlap."""
    taken: list[tuple[float, float]] = []
    parts = []
    for variant in {v.detector: v for v in reversed(front)}.values():
        x, y = axes.at(variant)
        text = f"{variant.detector} {variant.precision.upper()}"
        width = 7.0 * len(text)
        right = x + width < _WIDTH - _RIGHT
        top = y + _LINE_HEIGHT + 4
        while any(abs(top - other) < _LINE_HEIGHT and x < end for end, other in taken):
            top += _LINE_HEIGHT
        taken.append((x + width, top))
        anchor = "start" if right else "end"
        parts.append(
            f"<text x='{x:.1f}' y='{top:.1f}' text-anchor='{anchor}' "
            f"style='fill:{page.INK_COLOUR}'>{html.escape(text)}</text>"
        )
    return parts


def _mark(precision: str, x: float, y: float) -> str:
    if precision.startswith("int8"):
        tall = 1.25 * _DOT
        return (
            f"<polygon points='{x:.1f},{y - tall:.1f} {x + tall:.1f},{y + _DOT:.1f} "
            f"{x - tall:.1f},{y + _DOT:.1f}'/>"
        )
    if precision == "fp16":
        side = 1.8 * _DOT
        return (
            f"<rect x='{x - side / 2:.1f}' y='{y - side / 2:.1f}' width='{side}' height='{side}'/>"
        )
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{_DOT}'/>"


def _legend(shown: Sequence[Variant], colours: dict[str, str], runtimes: Sequence[str]) -> str:
    items = [
        f"<span><svg width='14' height='14' viewBox='0 0 14 14'><circle cx='7' cy='7' r='6' "
        f"fill='{colours[label]}'/></svg>{html.escape(label)}</span>"
        for label in dict.fromkeys(variant.detector for variant in shown)
    ]
    for precision in dict.fromkeys(variant.precision.partition("-")[0] for variant in shown):
        items.append(
            f"<span><svg width='16' height='16' viewBox='0 0 16 16'><g fill='none' "
            f"stroke='{page.INK_COLOUR}' stroke-width='1.5'>{_mark(precision, 8, 8)}</g></svg>"
            f"{precision.upper()}</span>"
        )
    if len(runtimes) > 1:
        items.append(f"<span>filled: {html.escape(runtimes[0])}</span>")
        items.append(f"<span>hollow: {html.escape(', '.join(runtimes[1:]))}</span>")
    items.append("<span>dashed: Pareto front</span>")
    return f"<p class='legend'>{''.join(items)}</p>"


def _hover(variant: Variant) -> str:
    return f"{variant.name}: {_p50(variant):.2f} ms, image AUROC {variant.image_auroc:.4f}"


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _linear_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= raw)
    first = math.ceil(low / step)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _p50(variant: Variant) -> float:
    assert variant.latency is not None
    return variant.latency.p50
