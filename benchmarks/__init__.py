"""On-device benchmarks: latency of whole frames, FPS, memory, heat, energy, and a verdict."""

from edgead.benchmarks.measure import Measurement, measure
from edgead.benchmarks.protocol import Protocol, Scenario
from edgead.benchmarks.statistics import LatencySummary, summarise
from edgead.benchmarks.verdict import Verdict, judge

__all__ = [
    "LatencySummary",
    "Measurement",
    "Protocol",
    "Scenario",
    "Verdict",
    "judge",
    "measure",
    "summarise",
]
