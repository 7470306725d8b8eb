"""Whether to believe a measurement: VALID, or INVALID with the reasons and what to do.

The limits are conventions, written down in docs/reference/benchmark.md with where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgead.benchmarks.device import Device
from edgead.benchmarks.measure import Measurement
from edgead.benchmarks.protocol import Scenario
from edgead.benchmarks.sensors.raspberry import UNDER_VOLTAGE
from edgead.benchmarks.statistics import SAMPLES_FOR, drift

MOST_VARIATION = 0.10
MOST_DRIFT = 0.05
MOST_OTHER_LOAD = 0.05
MOST_CLOCK_DROP = 0.10
LEAST_CLOCK = 0.95
MOST_OWN_COST = 0.01
MOST_QUOTA_STOPS = 0.01
_PERFORMANCE = "performance"


@dataclass(frozen=True)
class Reason:
    """Why a measurement is not to be trusted, and what to do about it."""

    code: str
    cause: str
    advice: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.advice}"


@dataclass(frozen=True)
class Verdict:
    """The reasons against a measurement, and what a reader should know besides."""

    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing speaks against the measurement."""
        return not self.reasons

    def __str__(self) -> str:
        return "VALID" if self.is_valid else "INVALID"


def judge(measurement: Measurement, device: Device) -> Verdict:
    """Judge a measurement."""
    throttled = _throttled(measurement)
    reasons = [
        *throttled,
        *_too_few(measurement),
        *_unstable(measurement),
        *_busy(measurement),
        # A governor cannot help a machine that is slowed down by heat.
        *([] if throttled else _governor(measurement, device)),
        *_own_cost(measurement),
    ]
    return Verdict(tuple(reasons), tuple(_notes(measurement, device)))


def _throttled(measurement: Measurement) -> list[Reason]:
    reasons = []
    events = measurement.timeline.events
    heat = "cool it (heat sink, fan), let it rest with --cooldown 60, and measure again"
    if UNDER_VOLTAGE in events:
        reasons.append(
            Reason(
                "throttled",
                "the supply voltage dropped too low during the run",
                "use the manufacturer's power supply and a short cable",
            )
        )
    others = [event for event in events if event != UNDER_VOLTAGE]
    if others:
        reasons.append(Reason("throttled", f"slowed down: {'; '.join(others)}", heat))
    quota = measurement.cpu.throttled if measurement.cpu else 0.0
    if quota > MOST_QUOTA_STOPS:
        reasons.append(
            Reason(
                "throttled",
                f"the CPU quota of the container was used up in {quota:.0%} of its periods, and "
                "the kernel paused the process until the next one",
                "give the container more CPUs (docker run --cpus), or use fewer --threads",
            )
        )
    clock = measurement.timeline.clock(measurement.on_gpu)
    if clock and len(clock.known) >= 3 and not measurement.protocol.camera_fps and not others:
        fell = drift(clock.known)
        if fell < -MOST_CLOCK_DROP:
            reasons.append(
                Reason(
                    "throttled",
                    f"the clock ({clock.sensor.name}) was {-fell:.0%} lower in the last third "
                    "than in the first",
                    heat,
                )
            )
    return reasons


def _too_few(measurement: Measurement) -> list[Reason]:
    needed, found = SAMPLES_FOR[90.0], len(measurement.samples.total_ms)
    if found >= needed:
        return []
    cause = f"{found} samples are too few for a p90, which needs {needed}"
    return [Reason("too few samples", cause, f"measure with --samples {needed} or more")]


def _unstable(measurement: Measurement) -> list[Reason]:
    reasons, summary = [], measurement.summary
    advice = "close other programs, let it warm up or cool down, and measure for longer"
    # Streams wait for each other, so their latencies differ by design.
    if measurement.protocol.scenario is not Scenario.MULTI_STREAM and (
        summary.variation > MOST_VARIATION
    ):
        cause = (
            f"latencies vary by {summary.variation:.1%} of their mean (limit {MOST_VARIATION:.0%})"
        )
        reasons.append(Reason("unstable", cause, advice))
    if abs(summary.drift) > MOST_DRIFT:
        cause = (
            f"the last third was {summary.drift:+.1%} against the first (limit {MOST_DRIFT:.0%})"
        )
        reasons.append(Reason("unstable", cause, advice))
    return reasons


def _busy(measurement: Measurement) -> list[Reason]:
    cpu = measurement.cpu
    if cpu is None:
        return []
    reasons = []
    if cpu.others > MOST_OTHER_LOAD:
        cause = f"other programs took {cpu.others:.0%} of the CPU (limit {MOST_OTHER_LOAD:.0%})"
        reasons.append(Reason("busy machine", cause, "stop them (see 'top') and measure again"))
    if cpu.stolen > MOST_OTHER_LOAD:
        cause = f"the host took {cpu.stolen:.0%} of the CPU of this virtual machine"
        reasons.append(Reason("busy machine", cause, "measure when its neighbours are quiet"))
    return reasons


def _governor(measurement: Measurement, device: Device) -> list[Reason]:
    if device.governor in (None, _PERFORMANCE) or measurement.on_gpu:
        return []
    if measurement.protocol.camera_fps:
        return []  # with rests between frames, saving power is part of what is measured
    share = _clock_share(measurement)
    if share is not None and share >= LEAST_CLOCK:
        return []
    seen = (
        "its clock cannot be read"
        if share is None
        else f"the clock was {share:.0%} of the highest on average"
    )
    advice = "add --set-governor performance (needs sudo; the old governor is restored afterwards)"
    return [Reason("governor", f"the governor is '{device.governor}' and {seen}", advice)]


def _own_cost(measurement: Measurement) -> list[Reason]:
    if measurement.own_cost <= MOST_OWN_COST:
        return []
    cause = f"the measurement itself took {measurement.own_cost:.1%} of the measured time"
    return [Reason("own cost", cause, "use larger frames, or a batch, so that a call takes longer")]


def _notes(measurement: Measurement, device: Device) -> list[str]:
    notes = []
    if measurement.timeline.history:
        notes.append(f"before this run, since boot: {'; '.join(measurement.timeline.history)}")
    share = _clock_share(measurement)
    if device.governor not in (None, _PERFORMANCE) and share is not None and share >= LEAST_CLOCK:
        notes.append(f"the governor is '{device.governor}', but the clock stayed at its highest")
    if device.power_mode and not device.power_mode.upper().startswith("MAXN"):
        notes.append(
            f"the figures are valid for power mode {device.power_mode} ('sudo nvpmodel -m 0')"
        )
    if device.virtual:
        notes.append("a virtual machine: its real clock, heat and neighbours are not visible")
    return notes


def _clock_share(measurement: Measurement) -> float | None:
    clock = measurement.timeline.clock(on_gpu=False)
    if clock is None or clock.sensor.limit is None or measurement.on_gpu:
        return None
    # The first reading was taken before the first frame.
    known = clock.known[1:] or clock.known
    return float(np.mean(known)) / clock.sensor.limit
