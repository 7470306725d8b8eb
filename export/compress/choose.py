"""The compression that an export takes: searched for on good photos and synthetic defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import notices
from edgead.artifact.kinds import INT8
from edgead.errors import GateRefused
from edgead.export import gate, verdict
from edgead.export.compress.compressor import Compressed, Compressor
from edgead.export.compress.search import Rung, Search, Timer
from edgead.export.compress.speed import timer
from edgead.export.network import Network
from edgead.export.options import AUTO, ExportOptions
from edgead.export.workbench import Checked, Workbench

_SHARE_OF_AUTO = 0.5


@dataclass(frozen=True)
class Choice:
    """What a search for a compression found.

    Attributes:
        rungs: The compressions that were tried, timed in one alternating run.
        network: The one to take, or ``None``.
        refusal: Why there is none to take.
    """

    rungs: Sequence[Rung]
    network: Network | None
    refusal: GateRefused | None = None


def choose(
    network: Network, fp32: Checked, bench: Workbench, options: ExportOptions, scratch: Path
) -> Choice:
    """Search for the compression that the options ask for.

    Args:
        network: The whole detector.
        fp32: Its FP32 file.
        bench: Scores compressions.
        options: Of the export; ``compress`` or ``max_latency`` is given.
        scratch: Folder for files that are timed and removed.

    Raises:
        UsageError: The target is no saving, or the detector cannot be compressed.
    """
    chooser = _Chooser(network, fp32, bench, options)
    try:
        made = chooser.choose(scratch)
    except GateRefused as error:
        return Choice(chooser.timed(), None, error)
    return Choice(chooser.timed(), chooser.networks[made])


class _Chooser:
    """One search."""

    def __init__(
        self, network: Network, fp32: Checked, bench: Workbench, options: ExportOptions
    ) -> None:
        self.whole, self.fp32, self.bench, self.options = network, fp32, bench, options
        self.compressor = Compressor(network.model, network.photos)
        self.search = Search(self.compressor, self._rung)
        self.networks: dict[Compressed, Network] = {}

    def choose(self, scratch: Path) -> Compressed:
        if self.options.max_latency is not None:
            return self.search.within(self.options.max_latency, self._timer(scratch))
        made = self.search.find(self.options.compress or AUTO)
        if self.options.compress == AUTO and self.options.makes_int8:
            return self._as_small_as_int8_allows(made)
        return made

    def timed(self) -> list[Rung]:
        """Return what was tried, timed."""
        tried = self.search.tried
        names = [f"{index}" for index in range(len(tried))]
        files = {
            name: self.bench.check(self.networks[made].fp32)
            for name, (made, _) in zip(names, tried, strict=True)
        }
        found = self.bench.time({"whole": self.fp32, **files})
        return [
            rung.timed(found["whole"], found[name])
            for name, (_, rung) in zip(names, tried, strict=True)
        ]

    def _rung(self, made: Compressed) -> Rung:
        self.networks[made] = Network(
            made.model,
            made.model.SerializeToString(),
            made.described(self.whole.fp32.manifest),
            self.whole.photos,
            self.whole.calibrator,
        )
        checked = self.bench.check(self.networks[made].fp32)
        # What INT8 loses comes on top, and the gate counts both against the original.
        leaves_room = self.options.compress == AUTO and self.options.int8 is not None
        allowed = self.options.max_drop * (_SHARE_OF_AUTO if leaves_room else 1.0)
        found = self._verdict(checked, allowed)
        if self.options.compress == AUTO:
            found = found.or_refused(gate.order_refusal(found.parity, allowed))
        auroc = self.bench.judge.on_few(checked.scored).accuracy.synthetic_auroc
        return Rung(made.gmac, made.parameters, auroc, found.parity, found.refusal)

    def _as_small_as_int8_allows(self, made: Compressed) -> Compressed:
        """Step back to larger compressions until INT8 of one keeps accuracy and order.

        If none keeps the order, the largest whose INT8 the gate lets pass; then the smallest.
        """
        allowed = self.options.max_drop
        otherwise = made
        while True:
            int8 = self.bench.check(self.networks[made].make(INT8))
            found = self._verdict(int8, allowed).or_refused(
                gate.runtime_refusal(int8.apart, int8.manifest)
            )
            reason = found.refusal
            if reason is None:
                reason = gate.order_refusal(found.parity, allowed)
                if reason is None:
                    return made
                otherwise = made
            larger = self.search.larger(made.gmac)
            if larger is None:
                return otherwise
            notices.say(
                f"INT8 of {made.gmac:.3g} GMAC was refused ({reason}); trying {larger.gmac:.3g}"
            )
            made = larger

    def _verdict(self, file: Checked, allowed: float) -> verdict.Verdict:
        return verdict.without_labels(self.bench.judge, self.fp32.scored, file.scored, allowed)

    def _timer(self, scratch: Path) -> Timer:
        manifest = self.whole.fp32.manifest
        if self.options.makes_int8:
            manifest = manifest.replace(precision=INT8.name)
        return timer(self.compressor, manifest, self.bench.judge.batch[:1], scratch)
