"""How busy the machine was with other work, and whether a quota stopped this process.

``/proc/stat`` against this process's own time, and what the control groups count.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from edgead import cpu
from edgead.benchmarks.system import System, read_text


@dataclass(frozen=True)
class CpuTimes:
    """CPU seconds since boot: of all cores, those of them in use, stolen, and our own.

    ``periods`` and ``throttled`` count the periods of this process's CPU quota, and those of them
    in which it was used up.
    """

    capacity: float
    busy: float
    stolen: float
    own: float
    periods: int = 0
    throttled: int = 0

    @classmethod
    def now(cls, system: System) -> CpuTimes | None:
        """Read the counters; ``None`` where the kernel shows none."""
        own = time.process_time()
        text = system.text("proc/stat") or ""
        fields = text.partition("\n")[0].split()
        if len(fields) < 8 or fields[0] != "cpu":
            return None
        ticks = float(os.sysconf("SC_CLK_TCK"))
        # proc(5): user nice system idle iowait irq softirq steal; guest time is within user.
        user, nice, kernel, idle, waiting, interrupt, soft, *rest = (
            int(field) / ticks for field in fields[1:]
        )
        stolen = rest[0] if rest else 0.0
        busy = user + nice + kernel + interrupt + soft
        periods, throttled = _quota_periods(system)
        return cls(busy + idle + waiting + stolen, busy, stolen, own, periods, throttled)


@dataclass(frozen=True)
class Load:
    """Shares of all cores during a run, 0..1.

    Attributes:
        own: The benchmark and its inference threads.
        others: Every other program.
        stolen: Taken by the host of a virtual machine.
        throttled: Share of the periods of a container's CPU quota in which it was used up and the
            kernel stopped this process; 0 without a quota.
    """

    own: float
    others: float
    stolen: float
    throttled: float = 0.0

    @classmethod
    def between(cls, before: CpuTimes | None, after: CpuTimes | None) -> Load | None:
        """Return what happened between two looks; ``None`` where the kernel does not say."""
        if before is None or after is None or after.capacity <= before.capacity:
            return None
        capacity = after.capacity - before.capacity
        own = (after.own - before.own) / capacity
        busy = (after.busy - before.busy) / capacity
        stolen = (after.stolen - before.stolen) / capacity
        # The kernel counts in ticks of 10 ms, so a short run can come out below zero.
        return cls(
            min(own, 1.0),
            max(0.0, busy - own),
            max(0.0, stolen),
            (after.throttled - before.throttled) / max(1, after.periods - before.periods),
        )


def _quota_periods(system: System) -> tuple[int, int]:
    """Return the periods with a quota and the throttled ones, of the group that has most."""
    counts = [(0, 0)]
    for folder in cpu.cgroup_folders(system.root):
        lines = (read_text(folder / "cpu.stat") or "").splitlines()
        values = dict(line.split() for line in lines if len(line.split()) == 2)
        try:
            counts.append((int(values["nr_periods"]), int(values["nr_throttled"])))
        except (KeyError, ValueError):
            continue
    return max(counts, key=lambda count: count[1])
