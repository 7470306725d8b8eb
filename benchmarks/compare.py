"""Results side by side: devices, runtimes or precisions, with ratios and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgead.benchmarks import report
from edgead.benchmarks.result import SCHEMA, Result
from edgead.benchmarks.statistics import Ratio, ratio
from edgead.printable import printable

_APART = (
    "Ratio: median latency per frame divided by that of the first column; in brackets its 95 % "
    "bootstrap interval over stretches of each run. The runs were separate, so the ratio also "
    "contains other differences between them (heat, other programs)."
)
_IN_TURNS = (
    "Ratio: latency per frame divided by that of the first column, median over interleaved rounds; "
    "in brackets its 95 % bootstrap interval over rounds."
)


@dataclass(frozen=True)
class Column:
    """One result, and how its latency compares with the first one's."""

    label: str
    result: Result
    ratio: Ratio


@dataclass(frozen=True)
class Comparison:
    """Results side by side; the first is the one that the others are compared with.

    Attributes:
        columns: One for each result.
        in_turns: Whether they were measured in turns, in one run.
    """

    columns: tuple[Column, ...]
    in_turns: bool

    @classmethod
    def of_runs(cls, results: Sequence[Result]) -> Comparison:
        """Compare runs that were made one after the other, or on different devices."""
        base = _per_frame(results[0])
        labels = _labels(results)
        columns = [
            Column(label, result, ratio(_per_frame(result), base) if index else Ratio(1, 1, 1))
            for index, (label, result) in enumerate(zip(labels, results, strict=True))
        ]
        return cls(tuple(columns), in_turns=False)

    @classmethod
    def of_turns(cls, results: Sequence[Result], ratios: Sequence[Ratio]) -> Comparison:
        """Compare results that took turns in one run."""
        columns = map(Column, _labels(results), results, ratios)
        return cls(tuple(columns), in_turns=True)

    @property
    def method(self) -> str:
        """What the ratios are."""
        return _IN_TURNS if self.in_turns else _APART

    def to_json(self) -> dict[str, Any]:
        """Return all results and their ratios, as ``edgead bench --json`` writes them."""
        return {
            "schema": SCHEMA,
            "kind": "edgead bench, several",
            "in_turns": self.in_turns,
            "ratios": [
                {"label": column.label, **column.ratio.to_json()} for column in self.columns
            ],
            "results": [column.result for column in self.columns],
        }

    def cells(self) -> list[list[str]]:
        """Return the table: a row a result, the first row its heads."""
        rows = [
            ["", "p50 ms", "p90 ms", "p99 ms", "FPS", "MB", "MiB", "mJ/frame", "ratio", "verdict"]
        ]
        for index, column in enumerate(self.columns):
            result = column.result
            latency, power = result["latency_ms"], result["sensors"]["power"]
            rows.append(
                [
                    column.label,
                    *(_milliseconds(latency[key]) for key in ("p50", "p90", "p99")),
                    f"{result['fps']:.1f}",
                    f"{result['artifact']['size_bytes'] / 1e6:.2f}",
                    "-" if result["peak_rss_mib"] is None else f"{result['peak_rss_mib']:.0f}",
                    "-" if not power or power["frame_mj"] is None else f"{power['frame_mj']:.1f}",
                    str(column.ratio) if index else "1",
                    _verdict(result),
                ]
            )
        return rows

    def reasons(self) -> list[str]:
        """Return each kind of reason against a result once: its first cause, and what to do."""
        by_code: dict[str, list[tuple[str, str]]] = {}
        for column in self.columns:
            for reason in column.result["reasons"]:
                said = f"{reason['cause']}: {reason['advice']}"
                by_code.setdefault(reason["code"], []).append((column.label, said))
        lines = []
        for code, entries in by_code.items():
            count = len({label for label, _ in entries})
            label, first = entries[0]
            lines += report.wrapped(f"{code} ({count} of {len(self.columns)}), {label}: {first}")
        return lines

    def table(self) -> str:
        """Return the comparison as text."""
        rows = [[printable(cell) for cell in row] for row in self.cells()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *report.wrapped(self.method)])


def _per_frame(result: Result) -> list[float]:
    frames: int = result["frames_per_call"]
    return [value / frames for value in result["raw_ms"]["total"]]


def _labels(results: Sequence[Result]) -> list[str]:
    """Name each result by its detector and by what makes it different from the others."""
    described = [_parts(result) for result in results]

    def distinct(keys: Sequence[str]) -> bool:
        return len({tuple(one[key] for key in keys) for one in described}) == len(described)

    differing = [key for key in described[0] if len({one[key] for one in described}) > 1]
    shown = ["name"]
    if not distinct(shown):
        alone = next((key for key in differing if distinct(["name", key])), None)
        if alone:
            shown.append(alone)
        else:
            for key in differing:
                if key not in shown and not distinct(shown):
                    shown.append(key)
    # A file's name says the model and precision already.
    if "file" in shown:
        shown.remove("name")
    labels = [" · ".join(one[key] for key in shown) for one in described]
    return [
        label if labels.count(label) == 1 else f"{label} ({index + 1})"
        for index, label in enumerate(labels)
    ]


def _parts(result: Result) -> Mapping[str, str]:
    config, runtime, device = result["config"], result["runtime"], result["device"]
    threads, details = runtime["threads"], runtime["details"]
    return {
        "name": result["artifact"]["name"],
        "runtime": runtime["name"],
        "threads": "1 thread" if threads == 1 else f"{threads or 'default'} threads",
        "precision": f"float layers in {details.get('precision', 'the default')}",
        "hint": f"for {details.get('hint', 'latency')}",
        "file": result["artifact"]["file"],
        "batch": f"batch {config['batch']}",
        "streams": f"{config['streams']} cameras",
        "frames": _frames(result),
        "camera": f"{config['camera_fps']:g} FPS" if config["camera_fps"] else "no pause",
        "device": device["board"] or device["cpu"],
        "version": f"{runtime['name']} {runtime['version']}",
    }


def _frames(result: Result) -> str:
    config = result["config"]
    height, width = config["frame_size"]
    return f"{'photos' if config['images'] else 'frames'} of {width}x{height} px"


def _milliseconds(value: float | None) -> str:
    return "n/a" if value is None else report.milliseconds(value)


def _verdict(result: Result) -> str:
    if result["verdict"] == "VALID":
        return "VALID"
    codes = dict.fromkeys(reason["code"] for reason in result["reasons"])
    return f"INVALID: {', '.join(codes)}"
