"""How busy the machine was with other work: ``/proc/stat`` against this process's own time."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from edgead.benchmarks.system import System


@dataclass(frozen=True)
class CpuTimes:
    """CPU seconds since boot: of all cores, those of them in use, stolen, and our own."""

    capacity: float
    busy: float
    stolen: float
    own: float

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
        return cls(busy + idle + waiting + stolen, busy, stolen, own)


@dataclass(frozen=True)
class Load:
    """Shares of all cores during a run, 0..1.

    Attributes:
        own: The benchmark and its inference threads.
        others: Every other program.
        stolen: Taken by the host of a virtual machine.
    """

    own: float
    others: float
    stolen: float

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
        return cls(min(own, 1.0), max(0.0, busy - own), max(0.0, stolen))
