"""Which compression to take: the target asked for, or the largest saving that the gate allows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgead.artifact import ParitySpec
from edgead.errors import GateRefused, UsageError

if TYPE_CHECKING:
    from edgead.export.compress.compressor import Compressed, Compressor


SHARES = (0.6, 0.45, 0.33, 0.24, 0.17, 0.12)
"""Shares of the operations that ``auto`` tries."""

_BISECTIONS = 5

_FIRST = 3  # where auto begins: what the detectors measured so far pass with room


@dataclass(frozen=True)
class Rung:
    """One compression that was tried.

    Attributes:
        gmac: Multiply-accumulates of one photo, in billions.
        parameters: Weights and biases.
        synthetic_auroc: Good photos against synthetic defects.
        parity: Against the original.
        refusal: Why the gate refuses it, or ``None``.
        latency_ms: Median inference here, in one alternating run with the original.
        speed_up: How many times faster than the original that is.
    """

    gmac: float
    parameters: int
    synthetic_auroc: float
    parity: ParitySpec
    refusal: str | None
    latency_ms: float | None = None
    speed_up: float | None = None

    def timed(self, original_ms: float, own_ms: float) -> Rung:
        """Return a copy with latencies."""
        return dataclasses.replace(self, latency_ms=own_ms, speed_up=original_ms / own_ms)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on."""
        return {
            "gmac": self.gmac,
            "parameters": self.parameters,
            "synthetic_auroc": self.synthetic_auroc,
            "rank_correlation": self.parity.rank_correlation,
            "max_score_diff_relative": self.parity.max_score_diff_relative,
            "label_flips": self.parity.label_flips,
            "latency_ms": self.latency_ms,
            "speed_up": self.speed_up,
            "accepted": self.refusal is None,
            "reason": self.refusal or "passed the gate on good photos and synthetic defects",
        }


Timer = Callable[[float], float]
"""Milliseconds of one inference here with so many GMAC left."""

Judge = Callable[["Compressed"], Rung]
"""Scores a compression on held-out good photos and synthetic defects of them."""


class Search:
    """Tries compressions and remembers them.

    Args:
        compressor: The detector.
        judge: Called once for each compression tried.
    """

    def __init__(self, compressor: Compressor, judge: Judge) -> None:
        self._compressor, self._judge = compressor, judge
        self._by_target: dict[float, tuple[Compressed, Rung]] = {}

    @property
    def tried(self) -> list[tuple[Compressed, Rung]]:
        """The compressions that were tried, in order."""
        return list(self._by_target.values())

    def find(self, target: float | str) -> Compressed:
        """Return the compression to take.

        Args:
            target: GMAC, or :data:`AUTO`.

        Raises:
            UsageError: The target is no saving.
            GateRefused: The target cannot be met within the gate; names one that can.
        """
        if isinstance(target, str):
            return self._automatic()
        whole = self._compressor.gmac
        if target >= whole:
            raise UsageError(
                f"the detector has only {whole:.4g} GMAC, so --compress {target:g} saves nothing: "
                "give a smaller number, or no number for the largest compression that passes"
            )
        if target < self._compressor.least_gmac:
            why = f"the smallest possible network has {self._compressor.least_gmac:.3g} GMAC"
        else:
            made, rung = self._try(target)
            if rung.refusal is None:
                return made
            why = rung.refusal
        raise GateRefused(f"--compress {target:g} was refused ({why}); {self.nearest(target)}")

    def within(self, milliseconds: float, timer: Timer) -> Compressed:
        """Return the compression with the most operations that is fast enough here.

        Args:
            milliseconds: Largest latency of one inference.
            timer: Measures.

        Raises:
            UsageError: The whole detector is fast enough.
            GateRefused: No compression is, or none of those passes the gate.
        """
        slow, fast = self._compressor.gmac, self._compressor.least_gmac
        whole_ms = timer(slow)
        if whole_ms <= milliseconds:
            raise UsageError(
                f"one inference takes {whole_ms:.3g} ms here without compression: leave out "
                f"--max-latency {milliseconds:g}, or give a smaller number"
            )
        fast_ms = timer(fast)
        if fast_ms > milliseconds:
            raise GateRefused(
                f"--max-latency {milliseconds:g} cannot be met here: one inference of the smallest "
                f"possible network, {fast:.3g} of {slow:.4g} GMAC, takes {fast_ms:.3g} ms "
                f"(uncompressed: {whole_ms:.3g} ms)"
            )
        for _ in range(_BISECTIONS):
            middle = math.sqrt(slow * fast)
            middle_ms = timer(middle)
            if middle_ms <= milliseconds:
                fast, fast_ms = middle, middle_ms
            else:
                slow = middle
        made, rung = self._try(fast)
        if rung.refusal is None:
            return made
        raise GateRefused(
            f"--max-latency {milliseconds:g} needs a compression to {fast:.3g} GMAC here "
            f"({fast_ms:.3g} ms), which was refused ({rung.refusal}); {self.nearest(fast)}"
        )

    def larger(self, than: float) -> Compressed | None:
        """Return the next larger of the :data:`SHARES` that passes, or ``None`` if there is none.

        Args:
            than: GMAC of what is too small.
        """
        for share in reversed(SHARES):
            target = share * self._compressor.gmac
            if target > than and target >= self._compressor.least_gmac:
                made, rung = self._try(target)
                if made.gmac > than and rung.refusal is None:
                    return made
        return None

    def nearest(self, above: float) -> str:
        """Return a sentence with the next larger target that passes."""
        made = self.larger(above)
        if made is None:
            return "no other target passes: use --int8 without --compress, or more good photos"
        return f"the nearest target that passes is --compress {_rounded_up(made.gmac)}"

    def _automatic(self) -> Compressed:
        gmacs = [share * self._compressor.gmac for share in SHARES]
        gmacs = [gmac for gmac in gmacs if gmac >= self._compressor.least_gmac]
        index = min(_FIRST, len(gmacs) - 1)
        made, rung = self._try(gmacs[index])
        if rung.refusal is None:
            for gmac in gmacs[index + 1 :]:
                smaller, rung = self._try(gmac)
                if rung.refusal is not None:
                    break
                made = smaller
            return made
        for gmac in reversed(gmacs[:index]):
            made, rung = self._try(gmac)
            if rung.refusal is None:
                return made
        raise GateRefused(
            f"no compression passes the gate: even {made.gmac:.3g} of {self._compressor.gmac:.4g} "
            f"GMAC is refused ({rung.refusal}); use --int8 without --compress, or calibrate on "
            "more good photos (--calibration DIR)"
        )

    def _try(self, gmac: float) -> tuple[Compressed, Rung]:
        if gmac not in self._by_target:
            made = self._compressor.compress(gmac)
            self._by_target[gmac] = made, self._judge(made)
        return self._by_target[gmac]


def _rounded_up(gmac: float) -> str:
    """Write a target so that asking for it gives the same plan again."""
    return f"{gmac + 5e-4:.3f}" if gmac < 10 else f"{gmac + 5e-3:.2f}"
