"""The export of a detector, start to finish: build, check, refuse or put in place."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgead.artifact import Artifact, Manifest, ParitySpec, QuantizationSpec, write_artifact
from edgead.calibration.photos import CalibrationPhotos, refuse_test_photos, warnings
from edgead.datasets import Dataset
from edgead.errors import GateRefused, MissingDependencyError, UsageError
from edgead.export import gate, latency, parity, report, stale
from edgead.export.compress.search import AUTO, Rung, Search, Timer
from edgead.export.report import Variant
from edgead.export.source import Source
from edgead.runtimes import Runtime, available, open_runtime
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
    draft: Artifact
    runtimes: dict[str, Runtime]
    scored: parity.Scored
    manifest: Manifest
    apart: dict[str, float]
    on_few: gate.Accuracy | None = None
    on_many: gate.Accuracy | None = None
    labelled: gate.Accuracy | None = None

    @property
    def fastest(self) -> Runtime:
        """The runtime that ``auto`` takes for it here."""
        return next(self.runtimes[name] for name in order(self.draft) if name in self.runtimes)


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
    """
    options = options or ExportOptions()
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("exporting", "onnx", "export") from error
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder for the exports with --out DIR")
    validate = gate.labelled(options.validate) if options.validate else None
    opened = Source.open(source)
    paths = opened.calibration_photos(options.calibration)
    if validate is not None:
        refuse_test_photos(paths, validate)
    learned = opened.learned_photos(options.calibration)
    photos = CalibrationPhotos.read(paths, opened.manifest.input.size, learned)
    if options.compress is not None and options.max_latency is not None:
        raise UsageError(
            "--compress GMAC and --max-latency both say how much is taken out: leave one out"
        )
    if options.fp16 or options.int8 or options.tensorrt_int8 or options.is_compressing:
        photos.require_enough()
    if options.is_compressing and opened.manifest.compression is not None:
        raise UsageError(
            f"{source} is compressed already, from "
            f"{opened.manifest.compression.gmac_before:.4g} to {opened.manifest.model.gmac:.4g} "
            "GMAC: compress the file (or the run folder) that it was made from"
        )
    out.mkdir(parents=True, exist_ok=True)
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix=".export-", dir=out) as scratch,
    ):
        work = _Export(opened, options, photos, validate, out, Path(scratch), stack)
        variants = work.run()
    best = report.recommended(variants)
    command = f"edgead predict {out / str(best.file)} IMAGES --out results"
    report.write(out, variants, command, rungs=work.rungs)
    stale.warn(out, opened.manifest)
    if work.uncompressed is not None:
        raise GateRefused(f"{work.uncompressed}; only {best.file} was written to {out}")
    missing = options.missing(variants)
    if missing:
        refused = [
            f"{variant.name}: {variant.reason}"
            for variant in variants
            if any(variant.precision in precisions for precisions in missing.values())
        ]
        reasons = "; ".join([*work.impossible, *refused])
        written = ", ".join(str(variant.file) for variant in variants if variant.accepted)
        less = ""
        if options.is_compressing:
            left = min(variant.gmac for variant in variants)
            less = f"take fewer operations out (--compress {1.4 * left:.2g}), "
        raise GateRefused(
            f"{' and '.join(missing)} was not written ({reasons}); {out} got {written}: {less}"
            "calibrate on more good photos (--calibration DIR), or allow more with --max-drop "
            "POINTS"
        )
    return variants


class _Export:
    """One export under way."""

    def __init__(
        self,
        source: Source,
        options: ExportOptions,
        photos: CalibrationPhotos,
        validate: Dataset | None,
        out: Path,
        scratch: Path,
        stack: ExitStack,
    ) -> None:
        self.source, self.options, self.photos = source, options, photos
        self.validate, self.out, self.scratch, self.stack = validate, out, scratch, stack
        self.batch, self.masks = photos.compared, photos.masks()
        self.others: CalibrationPhotos | None = None
        self.impossible: list[str] = []
        self.graph, self.manifest = source.graph, source.manifest
        self.rungs: list[Rung] = []
        self.made_static: tuple[bytes, list[_Candidate]] | None = None
        self.scored: dict[int, _Checked] = {}  # by the candidate's id: each keeps its candidate
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
                checked += [self._check(candidate) for candidate in build()]
            except GateRefused as error:  # the other variants may still be made
                self._cannot(error)
        return self._judge(checked, self._time(checked))

    def _cannot(self, error: GateRefused) -> None:
        self.impossible.append(str(error))
        print(f"warning: {error}", file=sys.stderr)

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
            auroc = self._on_few(entry).synthetic_auroc
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
                f"the compression to {made.gmac:.3g} GMAC was refused ({refused}); allow more "
                f"operations, for example --compress {1.4 * made.gmac:.2g}"
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
            print(
                f"INT8 of {made.gmac:.3g} GMAC was refused ({reason}); trying {larger.gmac:.3g}",
                file=sys.stderr,
            )
            made = larger

    def _unlabelled_refusal(self, fp32: _Checked, entry: _Checked, allowed: float) -> str | None:
        before, after = self._unlabelled(fp32, entry, allowed)
        return gate.refusal(before, after, self._compared(fp32, entry), allowed)

    def _unlabelled(
        self, fp32: _Checked, entry: _Checked, allowed: float
    ) -> tuple[gate.Accuracy, gate.Accuracy]:
        """Measure both without the labelled photos, on more defects where few leave it open."""
        before, after = self._on_few(fp32), self._on_few(entry)
        same_auroc = dataclasses.replace(before, synthetic_auroc=after.synthetic_auroc)
        if gate.refusal(same_auroc, after, self._compared(fp32, entry), allowed):
            return before, after  # whatever more defects say
        if gate.is_open(fp32.scored.scores, entry.scored.scores, self.masks, allowed):
            return self._on_many(fp32), self._on_many(entry)
        return before, after

    def _on_few(self, entry: _Checked) -> gate.Accuracy:
        if entry.on_few is None:
            entry.on_few = gate.on_synthetic_defects(entry.manifest, entry.scored, self.masks)
        return entry.on_few

    def _on_many(self, entry: _Checked) -> gate.Accuracy:
        if entry.on_many is None:
            if self.others is None:
                self.others = self.photos.with_other_defects()
            scored = parity.score(
                entry.runtimes["onnxruntime"], self.others.defective, entry.manifest.name
            )
            masks = [*self.masks, *self.others.defect_masks()]
            entry.on_many = gate.on_synthetic_defects(
                entry.manifest, entry.scored.and_then(scored), masks
            )
        return entry.on_many

    def _timer(self, compressor: Compressor) -> Timer:
        from edgead.export.compress.speed import timer

        manifest = self.source.manifest
        if self.options.int8 in ("auto", "static"):
            manifest = manifest.replace(precision="int8")
        return timer(compressor, manifest, self.batch[:1], self.scratch)

    def _compared(self, fp32: _Checked, entry: _Checked) -> ParitySpec:
        thresholds = fp32.manifest.threshold.value, entry.manifest.threshold.value
        return parity.compare(fp32.scored, entry.scored, thresholds, "fp32")

    def _accuracies(self, fp32: _Checked, entry: _Checked) -> tuple[gate.Accuracy, gate.Accuracy]:
        before, after = self._unlabelled(fp32, entry, self.options.max_drop)
        return self._with_labelled(fp32, before), self._with_labelled(entry, after)

    def _with_labelled(self, entry: _Checked, found: gate.Accuracy) -> gate.Accuracy:
        if self.validate is None:
            return found
        if entry.labelled is None:
            entry.labelled = gate.on_labelled(found, entry.draft, self.validate)
        return dataclasses.replace(
            found, image_auroc=entry.labelled.image_auroc, au_pro=entry.labelled.au_pro
        )

    def _check_fp32(self) -> _Checked:
        manifest = self.source.manifest
        entry = self._check(_Candidate("fp32", self.source.graph))
        good = entry.scored.scores[: len(self.photos.good)]
        for name, difference in entry.apart.items():
            if difference > parity.FP32_TOLERANCE:
                print(
                    f"warning: {name} gives scores that differ by up to {difference:.1e} of their "
                    "range: use this export with --runtime onnxruntime, and please report it",
                    file=sys.stderr,
                )
        doubts = warnings(self.photos, good, manifest)
        doubt = gate.hardly_trained(entry.scored.scores, self.masks)
        for warning in [*doubts, *([doubt] if doubt else [])]:
            print(f"warning: {warning}", file=sys.stderr)
        if not self.source.is_run:
            return entry
        from edgead.training.reference import TorchReference

        with TorchReference.from_run(self.source.path) as torch_reference:
            found = parity.compare(
                parity.score(torch_reference, self.batch, "torch"),
                entry.scored,
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
                "; for TensorRT to build an engine from",
            ),
        ]

    def _check(self, candidate: _Candidate) -> _Checked:
        """Score the photos with a candidate and fit threshold and statistics to its scores.

        A candidate is scored once, also where a search wanted it before.
        """
        if id(candidate) not in self.scored:
            self.scored[id(candidate)] = self._score(candidate)
        return self.scored[id(candidate)]

    def _score(self, candidate: _Candidate) -> _Checked:
        from edgead.export.refit import refit_manifest

        manifest = self.manifest.replace(
            precision=candidate.precision, quantization=candidate.quantization
        )
        draft = write_artifact(self.scratch / f"{manifest.name}.onnx", candidate.model, manifest)
        runtimes = {
            name: self.stack.enter_context(open_runtime(draft, name, latency.SIDE_BY_SIDE).runtime)
            for name, reason in available().items()
            if reason is None and runtime_class(name).refuses(draft) is None
        }
        scored = parity.score(runtimes["onnxruntime"], self.batch, manifest.name)
        apart = {
            name: parity.compare(
                scored,
                parity.score(runtime, self.batch, f"{manifest.name} in {name}"),
                (0.0, 0.0),
                "onnxruntime",
            ).max_score_diff_relative
            for name, runtime in runtimes.items()
            if name != "onnxruntime"
        }
        if candidate.model is not self.source.graph:
            good = scored.scores[: len(self.photos.good)]
            manifest = refit_manifest(manifest, good.tolist())
            draft = write_artifact(draft.path, candidate.model, manifest)
        return _Checked(candidate, draft, runtimes, scored, manifest, apart)

    def _judge(self, checked: list[_Checked], timed: dict[str, float]) -> list[Variant]:
        fp32 = checked[0]
        variants = []
        for entry in checked:
            name, candidate = entry.manifest.name, entry.candidate
            if entry is fp32:
                found, refused = entry.manifest.parity, None
                before = after = self._with_labelled(fp32, self._on_few(fp32))
                if found is None:
                    found = parity.compare(
                        fp32.scored, entry.scored, (0.0, 0.0), str(self.source.path)
                    )
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
                path = self.out / str(variant.file)
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
