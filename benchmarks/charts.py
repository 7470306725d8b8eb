"""Hand-made SVG charts of latencies; nothing is loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgead.markup import Html, element
from edgead.page import BAD_COLOUR as BAD
from edgead.page import GOOD_COLOUR as GOOD
from edgead.page import INK_COLOUR as INK
from edgead.page import LINE_COLOUR as LINE

SOFT, ACCENT = "#5b6770", "#2b6c8f"

_WIDTH = 860
_LEFT, _RIGHT = 64, 12
_BARS = 48
_LONG_TAIL = 3.0
_COLUMNS = 260
_STAGE_COLOURS = {
    "preprocess": "#8a6bb8",
    "host to device": "#c79a3b",
    "inference": ACCENT,
    "device to host": "#b57f1e",
    "postprocess": GOOD,
}


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels, with round numbers to write beside it."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Make an axis that holds the values with a little room, also if they are all the same."""
        low, high = min(values), max(values)
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(max(0.0, low - room) if low >= 0 else low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values inside the axis."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first = math.ceil(self.low / step)
        return [step * n for n in range(first, math.floor(self.high / step) + 1)]


def histogram(latencies: Sequence[float], marks: Sequence[tuple[str, float]]) -> Html:
    """Draw how often each latency came; a long tail is gathered in a last, red bar.

    Args:
        latencies: Milliseconds, all of them.
        marks: Lines to draw, such as ``("p90", 12.3)``.
    """
    values = np.asarray(latencies, np.float64)
    height, base = 250, 200
    low, high = float(values.min()), float(values.max())
    cut = max(float(np.percentile(values, 99)), _LONG_TAIL * 0.5 * float(np.median(values)))
    tail = int((values > cut).sum()) if high > _LONG_TAIL * float(np.median(values)) else 0
    inside = values[values <= cut] if tail else values
    axis = Axis.over([low, float(inside.max())], _LEFT, _WIDTH - _RIGHT - (50 if tail else 0))
    counts, edges = np.histogram(inside, _BARS, (axis.low, axis.high))
    most = max(int(counts.max()), tail, 1)
    parts: list[Html] = []
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        if count:
            parts.append(
                _bar(axis.at(left) + 0.5, axis.at(right) - 0.5, base, count / most, base - 44)
            )
    if tail:
        parts.append(
            _bar(_WIDTH - _RIGHT - 36, _WIDTH - _RIGHT - 14, base, tail / most, base - 44, BAD)
        )
        parts.append(_text(_WIDTH - _RIGHT, base + 16, f"> {cut:.3g}: {tail}", "end", colour=BAD))
    parts.append(_line(_LEFT, base, _WIDTH - _RIGHT, base, LINE))
    for tick in axis.ticks(8):
        parts.append(_text(axis.at(tick), base + 16, f"{tick:g}", "middle"))
    parts.append(_text(_LEFT, height - 8, "milliseconds a call"))
    parts.append(_text(_LEFT - 8, base - (base - 44), f"{most}", "end"))
    parts.append(_text(_LEFT - 8, base, "0", "end"))
    row_ends = [-1e9] * len(marks)
    for name, value in marks:
        if axis.low <= value <= axis.high:
            at = axis.at(value)
            row = next(row for row, end in enumerate(row_ends) if at > end)
            row_ends[row] = at + 34
            parts.append(_line(at, 4 + 14 * row, at, base, INK, dashed=True))
            parts.append(_text(at + 3, 14 + 14 * row, name))
    return _svg(height, "latency histogram", parts)


@dataclass(frozen=True)
class Track:
    """One line of the timeline; ``None`` where nothing was read."""

    label: str
    unit: str
    times: Sequence[float]
    values: Sequence[float | None]
    colour: str
    limit: float | None = None


def timeline(
    started: Sequence[float],
    latencies: Sequence[float],
    tracks: Sequence[Track],
    throttled: Sequence[tuple[float, float]],
) -> Html:
    """Draw latency over time (band from lowest to highest, line of medians) above the sensors.

    Args:
        started: Seconds, of each call.
        latencies: Milliseconds.
        tracks: What to draw below, over the same seconds.
        throttled: Stretches of time to shade.
    """
    end = max([*started, *(time for track in tracks for time in track.times)]) or 1.0
    across = Axis(0.0, end, _LEFT, _WIDTH - _RIGHT)
    heights = [150.0] + [80.0] * len(tracks)
    total = sum(heights) + 26 * len(heights) + 24
    parts = []
    for begin, stop in throttled:
        left, wide = across.at(begin), across.at(stop) - across.at(begin)
        parts.append(_rect(left, 0, wide, total - 24, BAD, 0.10))
    top = 22.0
    columns = _columns(started, latencies, end)
    values = [value for _, low, _, high in columns for value in (low, high)]
    down = Axis.over(values, top + heights[0], top)
    parts += _frame(down, top, "latency, ms")
    band = [(across.at(x), down.at(high)) for x, _, _, high in columns]
    band += [(across.at(x), down.at(low)) for x, low, _, _ in reversed(columns)]
    parts.append(element("polygon", points=_points(band), fill=ACCENT, fill_opacity=0.22))
    parts.append(_path([(across.at(x), down.at(middle)) for x, _, middle, _ in columns], ACCENT))
    top += heights[0] + 26
    for track, height in zip(tracks, heights[1:], strict=True):
        known = [
            (time, value)
            for time, value in zip(track.times, track.values, strict=True)
            if value is not None
        ]
        limit = [track.limit] if track.limit else []
        down = Axis.over([value for _, value in known] + limit, top + height, top)
        parts += _frame(down, top, f"{track.label}, {track.unit}")
        if track.limit:
            at = down.at(track.limit)
            parts.append(_line(_LEFT, at, _WIDTH - _RIGHT, at, SOFT, dashed=True))
        parts.append(_path([(across.at(t), down.at(v)) for t, v in known], track.colour))
        parts += [
            element("circle", cx=_px(across.at(t)), cy=_px(down.at(v)), r=2.5, fill=track.colour)
            for t, v in known
        ]
        top += height + 26
    for tick in across.ticks(8):
        parts.append(_text(across.at(tick), total - 8, f"{tick:g} s", "middle"))
    return _svg(int(total), "timeline", parts)


def stage_bars(stages: Sequence[tuple[str, float]]) -> Html:
    """Draw a frame as one bar, a piece a stage, with a legend below.

    Args:
        stages: Name and milliseconds.
    """
    total = sum(value for _, value in stages) or 1.0
    width = _WIDTH - _RIGHT
    parts = []
    left = 0.0
    for name, value in stages:
        piece = max(0.0, value / total * width)
        parts.append(_rect(left, 0, piece, 22, _STAGE_COLOURS[name]))
        left += piece
    for row, (name, value) in enumerate(stages):
        y = 48 + 22 * row
        parts.append(_rect(0, y - 11, 12, 12, _STAGE_COLOURS[name]))
        parts.append(_text(20, y, f"{name}: {value:.3g} ms, {value / total:.1%}"))
    return _svg(34 + 22 * len(stages), "stages of a frame", parts)


def ratio_bars(rows: Sequence[tuple[str, float, float, float]]) -> Html:
    """Draw a bar a row with its confidence interval, and a line at 1.

    Args:
        rows: Name, ratio, and the interval's two ends.
    """
    height = 46
    axis = Axis(0.0, 1.08 * max(1.0, *(high for *_, high in rows)), 4.0, _WIDTH - _RIGHT)
    parts = []
    for row, (name, value, low, high) in enumerate(rows):
        y = height * row
        parts.append(_text(0, y + 14, name, colour=INK))
        colour = GOOD if high < 1 else BAD if low > 1 else SOFT
        parts.append(_rect(4, y + 20, axis.at(value) - 4, 16, colour, 0.75))
        parts.append(_line(axis.at(low), y + 28, axis.at(high), y + 28, INK))
        for end in (low, high):
            parts.append(_line(axis.at(end), y + 24, axis.at(end), y + 32, INK))
    bottom = height * len(rows)
    parts.append(_line(axis.at(1), 0, axis.at(1), bottom, INK, dashed=True))
    for tick in axis.ticks(6):
        parts.append(_text(axis.at(tick), bottom + 16, f"{tick:g}", "middle"))
    return _svg(height * len(rows) + 26, "ratios of latency", parts)


def _columns(
    started: Sequence[float], latencies: Sequence[float], end: float
) -> list[tuple[float, float, float, float]]:
    """Gather calls that share a pixel column: time, lowest, median, highest."""
    times, values = np.asarray(started), np.asarray(latencies)
    where = np.minimum((times / end * _COLUMNS).astype(int), _COLUMNS - 1)
    return [
        (
            float(times[where == column].mean()),
            float(values[where == column].min()),
            float(np.median(values[where == column])),
            float(values[where == column].max()),
        )
        for column in np.unique(where)
    ]


def _svg(height: int, label: str, parts: Sequence[Html]) -> Html:
    box = f"0 0 {_WIDTH} {height}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=label)


def _frame(down: Axis, top: float, label: str) -> list[Html]:
    parts = [_text(_LEFT, top - 6, label)]
    for tick in down.ticks(3):
        at = down.at(tick)
        parts.append(_line(_LEFT, at, _WIDTH - _RIGHT, at, LINE))
        parts.append(_text(_LEFT - 8, at + 4, f"{tick:g}", "end"))
    return parts


def _bar(
    left: float, right: float, base: float, share: float, reach: float, colour: str = ACCENT
) -> Html:
    height = max(1.0, share * reach)
    return _rect(left, base - height, max(0.8, right - left), height, colour)


def _rect(
    left: float, top: float, width: float, height: float, colour: str, opacity: float | None = None
) -> Html:
    return element(
        "rect",
        x=_px(left),
        y=_px(top),
        width=_px(width),
        height=_px(height),
        fill=colour,
        fill_opacity=opacity,
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashed: bool = False) -> Html:
    dash = "4 3" if dashed else None
    ends = {"x1": _px(x1), "y1": _px(y1), "x2": _px(x2), "y2": _px(y2)}
    return element("line", **ends, stroke=colour, stroke_dasharray=dash)


def _path(points: Sequence[tuple[float, float]], colour: str) -> Html:
    return element("polyline", points=_points(points), fill="none", stroke=colour, stroke_width=1.6)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _px(value: float) -> str:
    return f"{value:.1f}"


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = SOFT) -> Html:
    return element("text", text, x=_px(x), y=_px(y), text_anchor=anchor, style=f"fill:{colour}")
