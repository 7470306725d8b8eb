"""On-device benchmarks: latency of whole frames, FPS, memory."""

from edgead.benchmarks.protocol import Measurement, Protocol, measure
from edgead.benchmarks.statistics import LatencySummary, summarise

__all__ = ["LatencySummary", "Measurement", "Protocol", "measure", "summarise"]
