"""The export of a detector, start to finish: build, check, refuse or put in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgead import files, notices
from edgead.artifact import Artifact, Manifest, ParitySpec, QuantizationSpec, write_artifact
from edgead.errors import GateRefused, MissingDependencyError, ParityError, UsageError
from edgead.export import gate, latency, parity, report, stale
from edgead.export.compress.search import AUTO, Rung, Search, Timer
from edgead.export.folder import export_folder, file_in
from edgead.export.judge import Judge, Scored
from edgead.export.report import Variant
from edgead.export.source import Source
from edgead.runtimes import Runtime, available, open_runtime
from edgead.runtimes.base import ContractError
from edgead.runtimes.select import order, runtime_class

if TYPE_CHECKING:
    from edgead.export.compress.compressor import Compressed, Compressor

_SHARE_OF_AUTO = 0.5

INT8_CHOICES = ("auto", "static", "dynamic")


@dataclass(frozen=True)
class ExportOptions:
    """What to export and how strict to be.

    Attributes:
        fp16: Also write an FP16 graph.
        int8: ``"static"``, ``"dynamic"``, ``"auto"`` for the faster of the two that passes, or
            ``None``.
        tensorrt_int8: Also write the INT8 graph that TensorRT builds its engine from. It comes with
            static INT8, too, but only here is it an error when it is refused.
        calibration: Folder of good photos in place of those that the training held out.
        calibrator: How ranges are chosen (``edgead.calibration.calibrators``).
        validate: Folder with labelled photos: accuracy before and after is measured on them.
        good: Names of folders of ``validate`` and ``calibration``, besides ``good``, that hold
            photos of good parts.
        max_drop: Largest loss of accuracy, in points of a hundred.
        compress: Take operations out first: GMAC to be left at most, ``"auto"`` for the fewest that
            pass, or ``None``. The other precisions are then made from the compressed graph.
        max_latency: In place of ``compress``: take operations out until one inference takes at most
            so many milliseconds here, of the static INT8 file where INT8 is asked for, else FP32.
    """

    fp16: bool = False
    int8: str | None = None
    tensorrt_int8: bool = False
    calibration: str | None = None
    calibrator: str = "minmax"
    validate: str | None = None
    good: tuple[str, ...] = ()
    max_drop: float = 0.5
    compress: float | str | None = None
    max_latency: float | None = None

    @property
    def makes_static_int8(self) -> bool:
        """Whether static INT8 graphs are made, for whatever runtime."""
        return self.int8 in ("auto", "static") or self.tensorrt_int8

    @property
    def is_compressing(self) -> bool:
        """Whether operations are taken out."""
        return self.compress is not None or self.max_latency is not None

    def missing(self, variants: list[Variant]) -> dict[str, set[str]]:
        """Return the kinds of file asked for of which none was accepted, with their precisions."""
        kinds = {
            "FP16": (self.fp16, {"fp16"}),
            "INT8": (self.int8 == "auto", {"int8", "int8-dynamic"}),
            "static INT8": (self.int8 == "static", {"int8"}),
            "dynamic INT8": (self.int8 == "dynamic", {"int8-dynamic"}),
            "INT8 for TensorRT": (self.tensorrt_int8, {"int8-tensorrt"}),
        }
        accepted = {variant.precision for variant in variants if variant.accepted}
        return {
            kind: precisions
            for kind, (asked, precisions) in kinds.items()
            if asked and not precisions & accepted
        }


@dataclass(frozen=True)
class _Candidate:
    """A graph that may become an artifact."""

    precision: str
    model: bytes
    quantization: QuantizationSpec | None = None
    note: str = ""

    @property
    def is_for_tensorrt(self) -> bool:
        return self.precision == "int8-tensorrt"


@dataclass
class _Checked:
    """A candidate with everything that was measured of it."""

    candidate: _Candidate
    runtimes: dict[str, Runtime]
    scored: Scored
    manifest: Manifest
    apart: dict[str, float]

    @property
    def draft(self) -> Artifact:
        """The file in the scratch folder."""
        return self.scored.artifact

    @property
    def fastest(self) -> Runtime:
        """The runtime that ``auto`` takes for it here."""
        return next(self.runtimes[name] for name in order(self.draft) if name in self.runtimes)


@dataclass(frozen=True)
class Exported:
    """The ONNX files of an export.

    Attributes:
        variants: FP32 first, refused ones included.
        rungs: The compressions that were tried.
        refused: What was asked for and is not there, with the next step; ``None`` for nothing.
    """

    variants: list[Variant]
    rungs: list[Rung]
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
            work = _Export(self.source, self.options, self.judge, out, scratch, stack)
            variants = work.run()
        best = report.recommended(variants)
        command = f"edgead predict {out / str(best.file)} IMAGES --out results"
        report.write(out, variants, command, rungs=work.rungs)
        stale.warn(out, self.source.manifest)
        return Exported(variants, work.rungs, work.refused(variants))


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions | None = None,
) -> list[Variant]:
    """Export a trained detector and prove that each file keeps its scores.

    The FP32 graph must give PyTorch's scores up to rounding. Every other variant is compared with
    the FP32 graph on held-out good photos and synthetic defects of them, and on labelled photos
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
    if options.compress is not None and options.max_latency is not None:
        raise UsageError(
            "--compress GMAC and --max-latency both set the size of the network: leave one out"
        )
    validate = gate.labelled(options.validate, options.good) if options.validate else None
    opened = Source.open(source)
    size, given = opened.manifest.input.size, options.calibration
    photos = opened.photos.read(size, given, validate, options.good)
    if options.fp16 or options.int8 or options.tensorrt_int8 or options.is_compressing:
        photos.require_enough()
    if options.is_compressing and opened.manifest.compression is not None:
        raise UsageError(
            f"{source} is already compressed from {opened.manifest.compression.gmac_before:.4g} to "
            f"{opened.manifest.model.gmac:.4g} GMAC: compress the file or the run folder it was "
            "made from"
        )
    return Prepared(opened, Judge(photos, validate), options)


class _Export:
    """One export under way."""

    def __init__(
        self,
        source: Source,
        options: ExportOptions,
        judge: Judge,
        out: Path,
        scratch: Path,
        stack: ExitStack,
    ) -> None:
        self.source, self.options, self.judge = source, options, judge
        self.photos, self.batch = judge.photos, judge.batch
        self.out, self.scratch, self.stack = out, scratch, stack
        self.impossible: list[str] = []
        self.graph, self.manifest = source.graph, source.manifest
        self.rungs: list[Rung] = []
        self.made_static: tuple[bytes, list[_Candidate]] | None = None
        self.checked: dict[int, _Checked] = {}  # by the candidate's id: each keeps its candidate
        self.uncompressed: GateRefused | None = None

    def run(self) -> list[Variant]:
        checked = [self._check_fp32()]
        if self.options.is_compressing:
            try:
                checked.append(self._compress(checked[0]))
            except GateRefused as error:  # nothing to make the other variants from
                self.uncompressed = error
                return self._judge(checked, self._time(checked))
        for build in self._builders():
            try:
                candidates = build()
            except GateRefused as error:  # the other variants may still be made
                self._cannot(error)
                continue
            for candidate in candidates:
                try:
                    checked.append(self._check(candidate))
                except GateRefused as error:
                    self._cannot(error)
        return self._judge(checked, self._time(checked))

    def refused(self, variants: list[Variant]) -> GateRefused | None:
        """Return which kinds of file were asked for and not written, and the next step."""
        if self.uncompressed is not None:
            written = variants[0].file
            return GateRefused(f"{self.uncompressed}; only {written} was written to {self.out}")
        missing = self.options.missing(variants)
        if not missing:
            return None
        refused = [
            f"{variant.name}: {variant.reason}"
            for variant in variants
            if any(variant.precision in precisions for precisions in missing.values())
        ]
        reasons = "; ".join([*self.impossible, *refused])
        written = ", ".join(str(variant.file) for variant in variants if variant.accepted)
        less = ""
        if self.options.is_compressing:
            left = min(variant.gmac for variant in variants)
            less = f"compress less (--compress {1.4 * left:.2g}), "
        return GateRefused(
            f"{' and '.join(missing)} was not written ({reasons}); written to {self.out}: "
            f"{written}. Next: {less}calibrate on more good photos (--calibration DIR), or allow a "
            "larger loss (--max-drop POINTS)"
        )

    def _cannot(self, error: GateRefused) -> None:
        self.impossible.append(str(error))
        notices.warn(str(error))

    def _time(self, checked: list[_Checked]) -> dict[str, float]:
        return latency.side_by_side(
            {
                entry.manifest.name: entry.fastest
                for entry in checked
                if not entry.candidate.is_for_tensorrt
            },
            self.batch[:1],
        )

    def _compress(self, fp32: _Checked) -> _Checked:
        """Make the compressed graph the one that the other variants are made from."""
        import onnx

        from edgead.export.compress.compressor import Compressor

        model = onnx.load_from_string(self.source.graph)
        entries: dict[int, _Checked] = {}

        # What INT8 loses comes on top, and the gate counts both against the original.
        leaves_room = self.options.compress == AUTO and self.options.int8 is not None
        allowed = self.options.max_drop * (_SHARE_OF_AUTO if leaves_room else 1.0)

        def judge(made: Compressed) -> Rung:
            self.manifest = made.described(self.source.manifest)
            entry = self._check(_Candidate("fp32", made.model.SerializeToString()))
            entries[id(made)] = entry
            found = self._compared(fp32, entry)
            refused = self._unlabelled_refusal(fp32, entry, allowed)
            if self.options.compress == AUTO:
                refused = refused or gate.order_refusal(found, allowed)
            auroc = self.judge.on_few(entry.scored).synthetic_auroc
            return Rung(made.gmac, made.parameters, auroc, found, refused)

        compressor = Compressor(model, self.photos)
        search = Search(compressor, judge)
        try:
            if self.options.max_latency is None:
                made = search.find(self.options.compress or AUTO)
                if self.options.compress == AUTO and self.options.int8 in ("auto", "static"):
                    made = self._as_small_as_int8_allows(search, made, fp32, entries)
            else:
                made = search.within(self.options.max_latency, self._timer(compressor))
        finally:
            self.manifest = self.source.manifest
            runtimes = {str(id(made)): entries[id(made)].fastest for made, _ in search.tried}
            timed = latency.side_by_side({"fp32": fp32.fastest, **runtimes}, self.batch[:1])
            self.rungs = [
                rung.timed(timed["fp32"], timed[str(id(made))]) for made, rung in search.tried
            ]
        entry = entries[id(made)]
        refused = gate.refusal(
            *self._accuracies(fp32, entry), self._compared(fp32, entry), self.options.max_drop
        )
        if refused:  # by the labelled photos, which took no part in the choice
            raise GateRefused(
                f"the compression to {made.gmac:.3g} GMAC was refused ({refused}); compress less, "
                f"for example --compress {1.4 * made.gmac:.2g}"
            )
        self.graph, self.manifest = entry.candidate.model, made.described(self.source.manifest)
        return entry

    def _as_small_as_int8_allows(
        self, search: Search, made: Compressed, fp32: _Checked, entries: dict[int, _Checked]
    ) -> Compressed:
        """Step back to larger compressions until INT8 of one keeps accuracy and order.

        If none keeps the order, the largest whose INT8 the gate lets pass; then the smallest.
        """
        otherwise = made
        while True:
            self.graph = entries[id(made)].candidate.model
            self.manifest = made.described(self.source.manifest)
            int8 = self._check(self._static()[0])
            reason = self._unlabelled_refusal(fp32, int8, self.options.max_drop)
            reason = reason or gate.runtime_refusal(int8.apart)
            if reason is None:
                reason = gate.order_refusal(self._compared(fp32, int8), self.options.max_drop)
                if reason is None:
                    return made
                otherwise = made
            larger = search.larger(made.gmac)
            if larger is None:
                return otherwise
            notices.say(
                f"INT8 of {made.gmac:.3g} GMAC was refused ({reason}); trying {larger.gmac:.3g}"
            )
            made = larger

    def _unlabelled_refusal(self, fp32: _Checked, entry: _Checked, allowed: float) -> str | None:
        before, after = self._unlabelled(fp32, entry, allowed)
        return gate.refusal(before, after, self._compared(fp32, entry), allowed)

    def _unlabelled(
        self, fp32: _Checked, entry: _Checked, allowed: float
    ) -> tuple[gate.Accuracy, gate.Accuracy]:
        compared = self._compared(fp32, entry)
        return self.judge.unlabelled(fp32.scored, entry.scored, compared, allowed)

    def _timer(self, compressor: Compressor) -> Timer:
        from edgead.export.compress.speed import timer

        manifest = self.source.manifest
        if self.options.int8 in ("auto", "static"):
            manifest = manifest.replace(precision="int8")
        return timer(compressor, manifest, self.batch[:1], self.scratch)

    def _compared(self, fp32: _Checked, entry: _Checked) -> ParitySpec:
        thresholds = fp32.manifest.threshold.value, entry.manifest.threshold.value
        return parity.compare(fp32.scored.outputs, entry.scored.outputs, thresholds, "fp32")

    def _accuracies(self, fp32: _Checked, entry: _Checked) -> tuple[gate.Accuracy, gate.Accuracy]:
        before, after = self._unlabelled(fp32, entry, self.options.max_drop)
        return (
            self.judge.with_labelled(fp32.scored, before),
            self.judge.with_labelled(entry.scored, after),
        )

    def _check_fp32(self) -> _Checked:
        manifest = self.source.manifest
        entry = self._check(_Candidate("fp32", self.source.graph))
        for name, difference in entry.apart.items():
            if difference > parity.FP32_TOLERANCE:
                notices.warn(
                    f"scores in {name} differ from scores in ONNX Runtime by up to "
                    f"{difference:.1e} of the score range: use these files with --runtime "
                    "onnxruntime, and please report this"
                )
        self.judge.doubt(entry.scored)
        if not self.source.is_run:
            return entry
        from edgead.training.reference import TorchReference

        with TorchReference.from_run(self.source.path) as torch_reference:
            found = parity.compare(
                parity.score(torch_reference, self.batch, "torch"),
                entry.scored.outputs,
                (manifest.threshold.value, manifest.threshold.value),
                "torch",
            )
        parity.require_fp32(found, f"{self.out / manifest.name}.onnx")
        entry.manifest = manifest.replace(parity=found)
        return entry

    def _builders(self) -> Iterable[Callable[[], list[_Candidate]]]:
        if self.options.fp16:
            yield self._fp16
        if self.options.int8 in ("auto", "dynamic"):
            yield self._dynamic
        if self.options.makes_static_int8:
            yield self._static

    def _fp16(self) -> list[_Candidate]:
        import onnx

        from edgead.calibration.ranges import extremes
        from edgead.export import fp16
        from edgead.export.tensorrt.onnx_nodes import cast_first

        model = onnx.load_from_string(self.graph)
        seen = extremes(model, fp16.checked_tensors(model), self.photos.for_ranges())
        made = fp16.for_gpus(model, seen)
        graph = cast_first(made.SerializeToString())
        return [_Candidate("fp16", graph, None, "; for GPUs")]

    def _dynamic(self) -> list[_Candidate]:
        import onnx

        from edgead.export.dynamic import SCHEME, dynamic_int8
        from edgead.export.refit import refit_head

        model = onnx.load_from_string(self.graph)
        made = refit_head(model, dynamic_int8(model), self.photos.good)
        spec = QuantizationSpec("dynamic", SCHEME, None, 0, None)
        return [_Candidate("int8-dynamic", made.SerializeToString(), spec)]

    def _static(self) -> list[_Candidate]:
        """Return static INT8 of the present graph; made once, also where a search wanted it."""
        if self.made_static is None or self.made_static[0] is not self.graph:
            self.made_static = self.graph, self._make_static()
        return self.made_static[1]

    def _make_static(self) -> list[_Candidate]:
        import onnx

        from edgead.export import qdq, tensorrt_rules
        from edgead.export.static import static_int8
        from edgead.export.tensorrt.onnx_nodes import cast_first

        model = onnx.load_from_string(self.graph)
        made = static_int8(model, self.photos, self.options.calibrator)

        def described(scheme: str) -> QuantizationSpec:
            return QuantizationSpec(
                method="static",
                scheme=scheme,
                calibrator=self.options.calibrator,
                images=len(self.photos.all_good),
                images_sha256=self.photos.sha256,
                largest_weight=qdq.LARGEST_WEIGHT,
            )

        candidates = [
            _Candidate(
                "int8", made.onnxruntime.SerializeToString(), described(qdq.ONNXRUNTIME_SCHEME)
            )
        ]
        for_tensorrt = cast_first(made.tensorrt.SerializeToString())
        try:
            tensorrt_rules.require(onnx.load_from_string(for_tensorrt))
        except GateRefused as error:  # nothing to ONNX Runtime
            self._cannot(error)
            return candidates
        return [
            *candidates,
            _Candidate(
                "int8-tensorrt",
                for_tensorrt,
                described(qdq.TENSORRT_SCHEME),
                "; input for TensorRT engines",
            ),
        ]

    def _check(self, candidate: _Candidate) -> _Checked:
        """Score the photos with a candidate and fit threshold and statistics to its scores.

        A candidate is scored once, also where a search wanted it before.
        """
        if id(candidate) not in self.checked:
            self.checked[id(candidate)] = self._score(candidate)
        return self.checked[id(candidate)]

    def _score(self, candidate: _Candidate) -> _Checked:
        manifest = self.manifest.replace(
            precision=candidate.precision, quantization=candidate.quantization
        )
        file = file_in(self.scratch, f"{manifest.name}.onnx")
        draft = write_artifact(file, candidate.model, manifest)
        try:
            return self._scored(candidate, manifest, draft)
        except ContractError as error:
            if candidate.model is not self.source.graph:
                raise GateRefused(f"{manifest.name} was refused: {error.problem}") from error
            raise ParityError(
                f"{self.source.path} is no usable detector, and nothing was written: "
                f"{error.problem}; check that the photos show the part, and train into a new "
                "folder with --precision 32-true or a lower --learning-rate"
            ) from error

    def _scored(self, candidate: _Candidate, manifest: Manifest, draft: Artifact) -> _Checked:
        """Score the photos with a draft, in every runtime here.

        Raises:
            ContractError: It does not compute what a detector must.
        """
        from edgead.export.refit import refit_manifest

        runtimes = {
            name: self.stack.enter_context(open_runtime(draft, name, latency.SIDE_BY_SIDE).runtime)
            for name, reason in available().items()
            if reason is None and runtime_class(name).refuses(draft) is None
        }
        scored = self.judge.scored(draft, runtimes["onnxruntime"])
        apart = {
            name: parity.compare(
                scored.outputs,
                parity.score(runtime, self.batch, f"{manifest.name} in {name}"),
                (0.0, 0.0),
                "onnxruntime",
            ).max_score_diff_relative
            for name, runtime in runtimes.items()
            if name != "onnxruntime"
        }
        if candidate.model is not self.source.graph:
            good = scored.outputs.scores[: len(self.photos.good)]
            manifest = refit_manifest(manifest, good.tolist())
            scored.artifact = write_artifact(draft.path, candidate.model, manifest)
        return _Checked(candidate, runtimes, scored, manifest, apart)

    def _judge(self, checked: list[_Checked], timed: dict[str, float]) -> list[Variant]:
        fp32 = checked[0]
        variants = []
        for entry in checked:
            name, candidate = entry.manifest.name, entry.candidate
            if entry is fp32:
                found, refused = entry.manifest.parity, None
                before = after = self.judge.with_labelled(
                    fp32.scored, self.judge.on_few(fp32.scored)
                )
                if found is None:
                    outputs = fp32.scored.outputs
                    found = parity.compare(outputs, outputs, (0.0, 0.0), str(self.source.path))
            else:
                found = self._compared(fp32, entry)
                before, after = self._accuracies(fp32, entry)
                refused = gate.refusal(before, after, found, self.options.max_drop)
                refused = refused or gate.runtime_refusal(entry.apart)
                entry.manifest = entry.manifest.replace(
                    parity=found, gate=gate.record(before, after, self.options.max_drop)
                )
            milliseconds = timed.get(name)
            variants.append(
                Variant(
                    name=name,
                    file=f"{name}.onnx" if refused is None else None,
                    precision=candidate.precision,
                    gmac=entry.manifest.model.gmac,
                    parameters=entry.manifest.model.parameters,
                    size_bytes=entry.draft.size_bytes,
                    latency_ms=milliseconds,
                    speed_up=timed[fp32.manifest.name] / milliseconds if milliseconds else None,
                    runtime=entry.fastest.name,
                    score_diff_in_runtimes=entry.apart,
                    parity=found,
                    image_auroc=after.image_auroc,
                    image_auroc_drop=gate.points_lost(before.image_auroc, after.image_auroc),
                    au_pro=after.au_pro,
                    au_pro_drop=gate.points_lost(before.au_pro, after.au_pro),
                    accepted=refused is None,
                    reason=refused or _accepted(entry, found),
                )
            )
        if self.options.int8 == "auto":
            variants = report.keep_fastest_int8(variants)
        variants = report.say_what_is_slower(variants)
        for index, (entry, variant) in enumerate(zip(checked, variants, strict=True)):
            if variant.accepted:
                path = file_in(self.out, str(variant.file))
                written = write_artifact(path, entry.candidate.model, entry.manifest)
                variants[index] = variant.replace(size_bytes=written.size_bytes)
        return variants


def _accepted(entry: _Checked, found: ParitySpec) -> str:
    compression = entry.manifest.compression
    if entry.candidate.precision == "fp32" and found.reference != "fp32":
        return f"same scores as {found.reference}"
    less = ""
    if compression is not None:
        less = f" with {entry.manifest.model.gmac / compression.gmac_before:.0%} of the operations"
    return f"passed the gate{less}{entry.candidate.note}"
