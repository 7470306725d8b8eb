"""Prometheus' text format; docs/reference/line-outputs.md has the names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgead.line.status import StationStatus
from edgead.printable import printable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class _Family:
    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        self.samples.append((labels, value))

    def lines(self) -> Iterator[str]:
        if not self.samples:
            return
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            given = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{self.name}{{{given}}} {float(value)!r}"


def text(stations: Sequence[StationStatus]) -> str:
    """Return the metrics of all stations."""
    lines = (line for family in _families(stations) for line in family.lines())
    return "".join(f"{line}\n" for line in lines)


def _families(stations: Iterable[StationStatus]) -> tuple[_Family, ...]:
    up = _Family("edgead_up", "gauge", "1 if the station can judge, 0 if it rejects everything.")
    info = _Family("edgead_artifact_info", "gauge", "The artifact in use; always 1.")
    verdicts = _Family("edgead_verdicts_total", "counter", "Verdicts by state.")
    late = _Family("edgead_triggers_late_total", "counter", "Triggers that waited too long.")
    missed = _Family("edgead_triggers_missed_total", "counter", "Triggers without room to wait.")
    threshold = _Family("edgead_threshold", "gauge", "A score above it is an anomaly.")
    ago = _Family("edgead_judged_ago_seconds", "gauge", "Seconds since the last verdict.")
    latency = _Family(
        "edgead_latency_seconds", "gauge", "Percentiles of the last thousand verdicts, by stage."
    )
    part_up = _Family("edgead_part_up", "gauge", "1 if a source, trigger or output works.")
    done = _Family("edgead_part_done_total", "counter", "Frames, triggers or verdicts it handled.")
    lost = _Family("edgead_part_lost_total", "counter", "Frames, triggers or verdicts it lost.")
    errors = _Family("edgead_part_errors_total", "counter", "Its failures.")
    waiting = _Family("edgead_part_waiting", "gauge", "Verdicts in its queue.")
    for station in stations:
        own = {"station": station.name}
        up.add(station.fault is None, **own)
        info.add(
            1,
            **own,
            artifact=station.artifact,
            sha256=station.artifact_sha256,
            runtime=station.runtime,
        )
        for state, count in station.verdicts.items():
            verdicts.add(count, **own, state=state)
        late.add(station.late, **own)
        missed.add(station.missed, **own)
        threshold.add(station.threshold, **own)
        if station.judged_ago_s is not None:
            ago.add(station.judged_ago_s, **own)
        for stage, percentiles in station.latency_ms.items():
            for percentile, value in percentiles.items():
                quantile = f"{float(percentile) / 100:g}"
                latency.add(value / 1000, **own, stage=stage, quantile=quantile)
        for part in station.parts:
            labels = {**own, "part": part.name, "kind": part.kind}
            part_up.add(part.fault is None, **labels)
            done.add(part.done, **labels)
            lost.add(part.lost, **labels)
            errors.add(part.errors, **labels)
            waiting.add(part.waiting, **labels)
    counts = up, info, verdicts, late, missed, threshold, ago, latency
    return (*counts, part_up, done, lost, errors, waiting)


def _escaped(label: str) -> str:
    # After printable() no line break is left, and each backslash is one that is meant.
    return printable(label).replace("\\", "\\\\").replace('"', '\\"')
