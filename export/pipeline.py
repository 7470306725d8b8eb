"""The export of a detector, start to finish: build, check, refuse or put in place."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgead import files, notices
from edgead.artifact import write_artifact
from edgead.artifact.kinds import FP32, Kind
from edgead.errors import GateRefused, MissingDependencyError, ParityError, UsageError
from edgead.export import gate, parity, report, stale, verdict
from edgead.export.folder import export_folder, file_in
from edgead.export.judge import Judge
from edgead.export.network import Network
from edgead.export.options import ExportOptions
from edgead.export.report import Variant
from edgead.export.roles import is_depthwise
from edgead.export.source import Source
from edgead.export.verdict import Verdict
from edgead.export.workbench import Checked, Workbench
from edgead.runtimes.base import ContractError
from edgead.view import View

if TYPE_CHECKING:
    from edgead.export.compress.choose import Choice
    from edgead.export.compress.search import Rung


@dataclass(frozen=True)
class Exported:
    """The ONNX files of an export.

    Attributes:
        variants: FP32 first, refused ones included.
        rungs: The compressions that were tried.
        refused: What was asked for and is not there, with the next step; ``None`` for nothing.
    """

    variants: list[Variant]
    rungs: Sequence[Rung]
    refused: GateRefused | None


@dataclass(frozen=True)
class Prepared:
    """An export whose source, photos and options were read and checked.

    Attributes:
        source: What is exported.
        judge: The photos that files are made and judged with.
        options: What to export.
    """

    source: Source
    judge: Judge
    options: ExportOptions

    def write(self, out: Path) -> Exported:
        """Make the ONNX files, check them, and put those that pass into place, with the report.

        Args:
            out: The export folder, which nobody else writes into (:func:`export_folder`).

        Raises:
            ParityError: The FP32 graph does not give PyTorch's scores; nothing was written.
        """
        with ExitStack() as stack, files.scratch_folder(out) as scratch:
            exported = self._write(out, scratch, Workbench(self.judge, stack))
        best = report.recommended(exported.variants)
        command = f"edgead predict {out / str(best.file)} IMAGES --out results"
        report.write(out, exported.variants, command, rungs=exported.rungs)
        stale.warn(out, self.source.manifest)
        return exported

    def _write(self, out: Path, scratch: Path, bench: Workbench) -> Exported:
        network = Network(
            self.source.model,
            self.source.graph,
            self.source.manifest,
            self.judge.photos,
            self.options.calibrator,
        )
        fp32 = self._fp32(network, bench, out)
        choice = self._choose(network, fp32, bench, scratch)
        reasons: list[str] = []
        made, refusal = [fp32], None
        if choice is None:
            made += self._made(network, bench, reasons, self.options.kinds)
        elif choice.network is None:
            refusal = choice.refusal
        else:
            made += self._made(choice.network, bench, reasons, (FP32, *self.options.kinds))
        self.judge.label([checked.scored for checked in made])
        verdicts = [self._verdict(fp32, checked) for checked in made]
        if choice is not None and len(made) > 1 and verdicts[1].refusal:
            # By the labelled photos, which took no part in the choice. They are read once, for all
            # files, so that what was made of the compression is known by then, and goes with it.
            refusal = _refused_compression(made[1], verdicts[1].refusal)
            made, verdicts = made[:1], verdicts[:1]
        verdicts = [
            found.or_refused(gate.runtime_refusal(checked.apart, checked.manifest))
            if checked is not fp32
            else found
            for found, checked in zip(verdicts, made, strict=True)
        ]
        variants = self._variants(made, verdicts, bench)
        for index, (checked, found) in enumerate(zip(made, verdicts, strict=True)):
            if not variants[index].accepted:
                continue
            manifest = checked.manifest
            if checked is not fp32:
                manifest = found.recorded(manifest, self.options.max_drop)
            path = file_in(out, str(variants[index].file))
            written = write_artifact(path, checked.candidate.graph, manifest)
            variants[index] = variants[index].replace(size_bytes=written.size_bytes)
        refused = self._missing(variants, reasons, refusal, out)
        return Exported(variants, choice.rungs if choice else (), refused)

    def _fp32(self, network: Network, bench: Workbench, out: Path) -> Checked:
        """Score what the export starts from, and compare it with PyTorch."""
        manifest = self.source.manifest
        try:
            checked = bench.score(network.fp32)
        except ContractError as error:
            raise ParityError(
                f"{self.source.path} is no usable detector, and nothing was written: "
                f"{error.problem}; check that the photos show the part, and train into a new "
                "folder with --precision 32-true or a lower --learning-rate"
            ) from error
        for name, difference in checked.apart.items():
            if difference > parity.FP32_TOLERANCE:
                notices.warn(
                    f"scores in {name} differ from scores in ONNX Runtime by up to "
                    f"{difference:.1e} of the score range: use these files with --runtime "
                    "onnxruntime, and please report this"
                )
        self.judge.doubt(checked.scored)
        if not self.source.is_run:
            return checked
        from edgead.training.reference import TorchReference

        with TorchReference.from_run(self.source.path) as torch_reference:
            found = parity.compare(
                self.judge.outputs(torch_reference, "torch"),
                checked.scored.outputs,
                (manifest.threshold.value, manifest.threshold.value),
                "torch",
            )
        parity.require_fp32(found, f"{out / manifest.name}.onnx")
        checked.scored.describe(manifest.replace(parity=found))
        return checked

    def _choose(
        self, network: Network, fp32: Checked, bench: Workbench, scratch: Path
    ) -> Choice | None:
        if not self.options.is_compressing:
            return None
        from edgead.export.compress.choose import choose

        return choose(network, fp32, bench, self.options, scratch)

    def _made(
        self, network: Network, bench: Workbench, reasons: list[str], kinds: Sequence[Kind]
    ) -> list[Checked]:
        """Make files and score them; a refused one costs the others nothing."""
        made = []
        for kind in kinds:
            try:
                made.append(bench.check(network.make(kind)))
            except GateRefused as error:
                reasons.append(str(error))
                notices.warn(str(error))
        return made

    def _verdict(self, fp32: Checked, checked: Checked) -> Verdict:
        if checked is fp32:
            return verdict.of_reference(self.judge, fp32.scored, str(self.source.path))
        allowed = self.options.max_drop
        return verdict.with_labels(self.judge, fp32.scored, checked.scored, allowed)

    def _variants(
        self, made: Sequence[Checked], verdicts: Sequence[Verdict], bench: Workbench
    ) -> list[Variant]:
        """Return the rows of the report, timed in one alternating run."""
        timed = bench.time(
            {
                checked.manifest.name: checked
                for checked in made
                if checked.candidate.kind.is_made_for("onnxruntime")
            }
        )
        whole_ms = timed[made[0].manifest.name]
        variants = []
        for checked, found in zip(made, verdicts, strict=True):
            name, size = checked.manifest.name, checked.scored.artifact.size_bytes
            milliseconds = timed.get(name)
            variants.append(
                found.variant(checked.manifest, size, checked.fastest.name).replace(
                    file=f"{name}.onnx" if found.refusal is None else None,
                    latency_ms=milliseconds,
                    speed_up=whole_ms / milliseconds if milliseconds else None,
                    score_diff_in_runtimes=checked.apart,
                    reason=found.refusal or _accepted(checked, found),
                )
            )
        if self.options.int8 == "auto":
            variants = report.keep_fastest_int8(variants)
        return report.say_what_is_slower(variants)

    def _missing(
        self,
        variants: Sequence[Variant],
        reasons: Sequence[str],
        uncompressed: GateRefused | None,
        out: Path,
    ) -> GateRefused | None:
        """Return which kinds of file were asked for and not written, and the next step."""
        if uncompressed is not None:
            return GateRefused(f"{uncompressed}; only {variants[0].file} was written to {out}")
        accepted = [variant for variant in variants if variant.accepted]
        missing = self.options.missing({variant.precision for variant in accepted})
        if not missing:
            return None
        refused = [
            f"{variant.name}: {variant.reason}"
            for variant in variants
            if any(variant.precision in names for names in missing.values())
        ]
        why = "; ".join([*reasons, *refused])
        written = ", ".join(str(variant.file) for variant in accepted)
        less = ""
        if self.options.is_compressing:
            left = min(variant.gmac for variant in variants)
            less = f"compress less (--compress {1.4 * left:.2g}), "
        return GateRefused(
            f"{' and '.join(missing)} was not written ({why}); written to {out}: {written}. Next: "
            f"{less}calibrate on more good photos (--calibration DIR), or allow a larger loss "
            "(--max-drop POINTS)"
        )


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions | None = None,
) -> list[Variant]:
    """Export a trained detector and prove that each file keeps its scores.

    The FP32 graph must give PyTorch's scores up to rounding. Every other variant is compared with
    the FP32 graph on validation photos, with and without synthetic defects, and on labelled photos
    where there are some; one that loses too much is not written.

    Args:
        source: A run folder, or an FP32 artifact (then torch is not needed, and ``calibration``
            is).
        out: The export folder; made when missing. Files of the same names in it are replaced
            once the new ones have passed their checks; others stay, with a warning where they are
            of another training of the same detector.
        options: What to export.

    Returns:
        The variants, FP32 first, refused ones included. The report is written beside the
        artifacts.

    Raises:
        UsageError: The source cannot be exported.
        TrainingError: The run has not finished or is damaged.
        DataError: Photos are missing, too few, test photos, or not labelled as they must be.
        ParityError: The FP32 graph does not give PyTorch's scores; nothing was written.
        GateRefused: A kind of file that was asked for was refused; the others are in place, and
            the report says why.
        EdgeadError: Another process exports into the folder.
    """
    with export_folder(out) as folder:
        exported = prepare(source, options or ExportOptions()).write(folder)
    if exported.refused is not None:
        raise exported.refused
    return exported.variants


def prepare(source: str | os.PathLike[str], options: ExportOptions) -> Prepared:
    """Read what an export starts from, and refuse what cannot be exported.

    Args:
        source: A run folder, or an FP32 artifact.
        options: What to export.

    Raises:
        UsageError: The source cannot be exported, or options contradict each other.
        TrainingError: The run has not finished or is damaged.
        DataError: Photos are missing, too few, test photos, or not labelled as they must be.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("exporting", "onnx", "export") from error
    options.check()
    validate = gate.labelled(options.validate, options.good) if options.validate else None
    opened = Source.open(source)
    if opened.is_taught:
        options = _for_taught(source, options)
    view, given = View.of(opened.manifest), options.calibration
    photos = opened.photos.read(view, given, validate, options.good)
    if options.fp16 or options.int8 or options.tensorrt_int8 or options.is_compressing:
        photos.require_enough()
    if options.is_compressing and opened.manifest.compression is not None:
        raise UsageError(
            f"{source} is already compressed from {opened.manifest.compression.gmac_before:.4g} to "
            f"{opened.manifest.model.gmac:.4g} GMAC: compress the file or the run folder it was "
            "made from"
        )
    if options.is_compressing and any(map(is_depthwise, opened.model.graph.node)):
        raise UsageError(
            f"{source} is made of depthwise convolutions, and its network is already small: "
            "--compress and --max-latency do not apply to it; leave them out, or train with a "
            "smaller --image-size"
        )
    return Prepared(opened, Judge(photos, validate), options)


def _for_taught(source: str | os.PathLike[str], options: ExportOptions) -> ExportOptions:
    """Return the options for a taught file, of which only static INT8 is made.

    Raises:
        UsageError: Names an option that does not apply.
    """
    if options.is_compressing:
        raise UsageError(
            f"{source} was taught, and its network is already small: --compress and --max-latency "
            "apply to trained detectors only; teach with a smaller --image-size or --coreset"
        )
    if options.int8 == "dynamic":
        raise UsageError(
            f"{source} was taught, and only static INT8 is made of it: use --int8 static"
        )
    if options.calibrator != "minmax":
        raise UsageError(
            f"{source} was taught, and its INT8 has ranges of minmax only: leave out --calibrator"
        )
    return dataclasses.replace(options, int8="static" if options.int8 else None)


def _refused_compression(checked: Checked, reason: str) -> GateRefused:
    gmac = checked.manifest.model.gmac
    return GateRefused(
        f"the compression to {gmac:.3g} GMAC was refused ({reason}); compress less, for example "
        f"--compress {1.4 * gmac:.2g}"
    )


def _accepted(checked: Checked, found: Verdict) -> str:
    compression, manifest = checked.manifest.compression, checked.manifest
    if checked.candidate.kind is FP32 and found.parity.reference != "fp32":
        return f"same scores as {found.parity.reference}"
    less = ""
    if compression is not None:
        less = f" with {manifest.model.gmac / compression.gmac_before:.0%} of the operations"
    return f"passed the gate{less}{checked.candidate.note}"
