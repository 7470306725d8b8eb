"""Accuracy against latency as an SVG, drawn by hand: no plotting library, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgead import page
from edgead.artifact import FP16, INT8
from edgead.compare.results import Variant, pareto_front
from edgead.markup import Html, element, joined

COLOURS = ("#1f6fb2", "#d1762a", "#2f8a5f", "#8a4fae", "#b03a48", "#5d6b78", "#a58b17", "#138a94")
_WIDTH, _HEIGHT = 1000, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 18, 54
_DOT = 6.5
_LINE_HEIGHT = 16


def accuracy_against_latency(variants: Sequence[Variant], device: str) -> Html:
    """Draw image AUROC over median latency (logarithmic), with the Pareto front.

    Colour is the detector, the mark's shape the precision; marks of runtimes other than the first
    are hollow. The front's detectors carry their names.

    Returns:
        A picture and its legend, or nothing where there is nothing to draw.
    """
    shown = [
        v
        for v in variants
        if v.device == device and v.latency is not None and v.image_auroc is not None
    ]
    if not shown:
        return Html()
    axes = _Axes(shown)
    colours = detector_colours(variants)
    runtimes = list(dict.fromkeys(v.runtime for v in shown))
    front = pareto_front(shown)
    parts = [*axes.draw(), _front_line(front, axes)]
    for variant in shown:
        x, y = axes.at(variant)
        colour, solid = colours[variant.detector], variant.runtime == runtimes[0]
        parts.append(
            element(
                "g",
                _mark(variant.kind.arithmetic, x, y),
                element("title", _hover(variant)),
                fill=colour if solid else "#ffffff",
                stroke=colour,
                stroke_width=2,
            )
        )
    parts += _names(front, axes)
    box, label = f"0 0 {_WIDTH} {_HEIGHT}", "image AUROC against latency"
    drawn = element("svg", *parts, viewBox=box, role="img", aria_label=label)
    return joined(drawn, _legend(shown, colours, runtimes))


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

    def draw(self) -> list[Html]:
        floor = _HEIGHT - _BOTTOM
        parts = []
        for tick in _log_ticks(self.low, self.high):
            x = f"{self.x(tick):.1f}"
            parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=floor, stroke=page.LINE_COLOUR))
            parts.append(element("text", f"{tick:g}", x=x, y=floor + 18, text_anchor="middle"))
        for tick in _linear_ticks(self.bottom, min(self.top, 1.0)):
            y = self.y(tick)
            ends = {"x1": _LEFT, "x2": _WIDTH - _RIGHT, "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
            parts.append(element("line", **ends, stroke=page.LINE_COLOUR))
            parts.append(
                element("text", f"{tick:g}", x=_LEFT - 8, y=f"{y + 4:.1f}", text_anchor="end")
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        across = "median latency of a whole frame, ms (logarithmic)"
        parts.append(element("text", across, x=middle, y=_HEIGHT - 8, text_anchor="middle"))
        turned = f"translate(14 {(_TOP + floor) / 2}) rotate(-90)"
        parts.append(element("text", "image AUROC", transform=turned, text_anchor="middle"))
        return parts


def _front_line(front: Sequence[Variant], axes: _Axes) -> Html:
    """Draw the front as steps: up to the next variant's latency, nothing better is to be had."""
    points: list[tuple[float, float]] = []
    for variant in front:
        x, y = axes.at(variant)
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    points.append((_WIDTH - _RIGHT, points[-1][1]))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = {"stroke": page.INK_COLOUR, "stroke_width": 1.5, "stroke_dasharray": "5 4"}
    return element("polyline", points=path, fill="none", **style)


def _names(front: Sequence[Variant], axes: _Axes) -> list[Html]:
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
        place = {"x": f"{x:.1f}", "y": f"{top:.1f}", "text_anchor": "start" if right else "end"}
        parts.append(element("text", text, **place, style=f"fill:{page.INK_COLOUR}"))
    return parts


def _mark(arithmetic: str, x: float, y: float) -> Html:
    if arithmetic == INT8.arithmetic:
        tall = 1.25 * _DOT
        corners = ((x, y - tall), (x + tall, y + _DOT), (x - tall, y + _DOT))
        return element("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners))
    if arithmetic == FP16.arithmetic:
        side = 1.8 * _DOT
        left, top = f"{x - side / 2:.1f}", f"{y - side / 2:.1f}"
        return element("rect", x=left, y=top, width=side, height=side)
    return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=_DOT)


def _legend(shown: Sequence[Variant], colours: dict[str, str], runtimes: Sequence[str]) -> Html:
    items = []
    for label in dict.fromkeys(variant.detector for variant in shown):
        dot = element("circle", cx=7, cy=7, r=6, fill=colours[label])
        items.append(element("span", _icon(14, dot), label))
    for arithmetic in dict.fromkeys(variant.kind.arithmetic for variant in shown):
        style = {"fill": "none", "stroke": page.INK_COLOUR, "stroke_width": 1.5}
        mark = element("g", _mark(arithmetic, 8, 8), **style)
        items.append(element("span", _icon(16, mark), arithmetic.upper()))
    if len(runtimes) > 1:
        items.append(element("span", f"filled: {runtimes[0]}"))
        items.append(element("span", f"hollow: {', '.join(runtimes[1:])}"))
    items.append(element("span", "dashed: Pareto front"))
    return element("p", *items, class_="legend")


def _icon(side: int, drawn: Html) -> Html:
    return element("svg", drawn, width=side, height=side, viewBox=f"0 0 {side} {side}")


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
