"""The comparison, start to finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import cpu, files, images, notices
from edgead.artifact import FP32, Artifact
from edgead.compare import accuracy, elsewhere, markdown, pictures, prepare, speed, taught, webpage
from edgead.compare.accuracy import Accuracy
from edgead.compare.comparison import Comparison, Machine
from edgead.compare.plan import Contender, Plan, contenders
from edgead.compare.prepare import Prepared
from edgead.compare.recommend import recommend
from edgead.compare.results import HERE, LeftOut, Variant
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.errors import DataError, EdgeadError, UsageError
from edgead.runtimes import available
from edgead.runtimes.select import runtime_class

JSON_NAME, MARKDOWN_NAME, PAGE_NAME = "compare.json", "compare.md", "compare.html"
_MARK = "compare"  # a folder with one of these is a comparison's
_FRAMES = 8


@dataclass
class _Measured:
    """One artifact in one runtime, on the way to a variant."""

    prepared: Prepared
    artifact: Artifact
    runtime: str
    version: str
    accuracy: Accuracy | None = None


def compare(plan: Plan, command: str) -> Comparison:
    """Train or take the detectors, export, measure and write the reports into ``plan.out``.

    A comparison that was interrupted goes on where it was when it is started again: finished
    trainings, exports and evaluations are kept. Speed is measured anew.

    Args:
        plan: What to compare.
        command: What the user typed, for the report.

    Raises:
        UsageError: The plan does not fit this data, folder or what is installed.
        DataError: The data cannot be used.
        EdgeadError: No detector could be compared; says why for each.
    """
    dataset = Dataset.from_folder(plan.data, plan.good).require_good()
    benches = {name: elsewhere.read_bench(path) for name, path in plan.elsewhere.items()}
    _check_device(plan)
    _check_folder(plan.out)
    found, left_out = contenders(plan)
    found, too_few = _with_enough_photos(found, dataset)
    left_out += too_few
    for contender in found:
        prepare.require_same(contender, plan)
    for entry in left_out:
        notices.say(f"not compared: {entry.what}: {entry.reason}")
    ready: list[Prepared] = []
    for number, contender in enumerate(found, 1):
        notices.say(f"[{number}/{len(found)}] {contender.label}")
        try:
            make = taught.prepare if contender.is_taught else prepare.prepare
            ready.append(make(contender, plan, dataset))
        except EdgeadError as error:  # the others can still be compared
            notices.say(f"not compared: {contender.label}: {error}")
            left_out.append(LeftOut(contender.label, str(error)))
    if not ready:
        raise EdgeadError(
            "nothing could be compared: "
            + "; ".join(f"{entry.what}: {entry.reason}" for entry in left_out)
        )
    measured, refused = _open_all(ready, plan)
    # Before the measurements: a JSON that matches nothing here is an error.
    _elsewhere(plan, benches, _variants(measured, plan.out))
    _measure_accuracy(measured, dataset, plan)
    frames = _frames(dataset, ready)
    pairs = [(entry.artifact, entry.runtime) for entry in measured]
    timed = speed.measure(pairs, frames, plan.seconds, plan.threads)
    variants = [
        variant.replace(latency=latency, memory_mib=memory)
        for variant, latency, memory in zip(
            _variants(measured, plan.out), timed.latencies, timed.memory_mib, strict=True
        )
    ]
    variants += _elsewhere(plan, benches, variants)
    comparison = Comparison(
        data=str(plan.data),
        photos={
            "train": len(dataset.train),
            "good": sum(not photo.is_anomalous for photo in dataset.test),
            "defective": sum(photo.is_anomalous for photo in dataset.test),
        },
        machine=_machine(measured, frames[0], plan),
        detectors=tuple(entry.detector for entry in ready),
        variants=tuple(variants),
        refused=(*(entry for p in ready for entry in p.refused), *refused),
        left_out=tuple(left_out),
        remarks=_remarks(dataset, variants),
        doubts=timed.doubts,
        constraints=plan.constraints,
        recommendation=recommend(variants, plan.constraints),
        command=command,
    )
    _write(comparison, measured, ready, dataset, plan)
    return comparison


def _with_enough_photos(
    found: Sequence[Contender], dataset: Dataset
) -> tuple[list[Contender], list[LeftOut]]:
    """Leave out trainings that the photos are too few for, where a taught detector is left.

    Raises:
        DataError: They are too few, and nothing else was asked for.
    """
    trained = [c for c in found if not c.is_taken and not c.is_taught]
    if not trained:
        return list(found), []
    try:
        dataset.train_photos()
    except DataError as error:
        if len(trained) == len(found):
            raise
        kept = [contender for contender in found if contender not in trained]
        return kept, [LeftOut(contender.label, str(error)) for contender in trained]
    return list(found), []


def _check_device(plan: Plan) -> None:
    known = (HERE, *plan.elsewhere)
    if plan.constraints.device not in known:
        name = plan.constraints.device
        raise UsageError(
            f"there are no measurements of the device '{name}' (known devices: "
            f"{', '.join(known)}): run 'edgead bench FILE.onnx --json {name}.json' on it with the "
            f"files exported here, and add --measure-on {name}={name}.json"
        )


def _check_folder(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder with --out")
    names = {entry.name for entry in out.iterdir() if not entry.name.startswith(".")}
    if names and not names & {JSON_NAME, "runs", "exports"}:
        raise UsageError(
            f"{out} already exists and is not the folder of a comparison; choose another one with "
            "--out"
        )


def _open_all(ready: Sequence[Prepared], plan: Plan) -> tuple[list[_Measured], list[LeftOut]]:
    """Pair every artifact with every runtime that can open it here."""
    names = [name for name, reason in available().items() if reason is None]
    measured, refused = [], []
    for prepared in ready:
        for artifact in prepared.artifacts:
            label = f"{prepared.detector.label} {artifact.manifest.precision.upper()}"
            if artifact.manifest.kind.only_builds_engines:
                reason = "only input for TensorRT, which builds an engine from it on the device"
                refused.append(LeftOut(label, reason))
                continue
            for name in names:
                reason = runtime_class(name).refuses(artifact) or _fitted_elsewhere(artifact, name)
                if not reason:
                    try:
                        with EdgeDetector(artifact.path, name, threads=plan.threads) as detect:
                            version = detect.runtime.version
                    except EdgeadError as error:
                        reason = str(error)
                if reason:
                    refused.append(LeftOut(f"{label} in {name}", reason))
                else:
                    measured.append(_Measured(prepared, artifact, name, version))
    if not measured:
        reasons = "; ".join(f"{entry.what}: {entry.reason}" for entry in refused)
        raise EdgeadError(f"no exported file can be run here: {reasons}")
    return measured, refused


def _fitted_elsewhere(artifact: Artifact, runtime: str) -> str:
    """Return why a runtime must not be recommended for a file; empty if it may be."""
    quantization = artifact.manifest.quantization
    exact = quantization.runtimes if quantization is not None else ()
    if not exact or runtime in exact:
        return ""
    return f"its threshold was fitted to scores in {', '.join(exact)}, and {runtime} gives others"


def _measure_accuracy(measured: Sequence[_Measured], dataset: Dataset, plan: Plan) -> None:
    if not dataset.test:
        return
    digest = accuracy.data_digest(dataset)
    for number, entry in enumerate(measured, 1):
        notices.say(
            f"accuracy {number}/{len(measured)}: {entry.prepared.detector.label} "
            f"{entry.artifact.manifest.precision.upper()} in {entry.runtime}"
        )
        entry.accuracy = accuracy.measure(
            entry.artifact, entry.runtime, dataset, digest, plan.threads, plan.out / "accuracy"
        )


def _elsewhere(
    plan: Plan, benches: dict[str, list[dict[str, Any]]], variants: Sequence[Variant]
) -> list[Variant]:
    return [
        elsewhere.measured_elsewhere(name, path, result, variants)
        for name, path in plan.elsewhere.items()
        for result in benches[name]
    ]


def _variants(measured: Sequence[_Measured], out: Path) -> list[Variant]:
    """Make the rows, without speed."""
    variants = []
    for entry in measured:
        figures: dict[str, Any] = {} if entry.accuracy is None else entry.accuracy.figures
        variants.append(
            Variant(
                detector=entry.prepared.detector.label,
                model=entry.prepared.detector.model,
                precision=entry.artifact.manifest.precision,
                runtime=entry.runtime,
                device=HERE,
                file=str(entry.artifact.path.relative_to(out)),
                sha256=entry.artifact.sha256,
                size_bytes=entry.artifact.size_bytes,
                image_auroc=figures.get("image_auroc"),
                pixel_auroc=figures.get("pixel_auroc"),
                au_pro=figures.get("au_pro"),
                false_positives=figures.get("false_positives"),
                misses=figures.get("misses"),
            )
        )
    return variants


def _frames(dataset: Dataset, ready: Sequence[Prepared]) -> list[images.Image]:
    """Take the user's own photos: a resize from their size is part of a frame's latency."""
    paths = [photo.path for photo in dataset.test] or list(_good_photos(dataset, ready))
    return [images.read_image(path) for path in paths[:_FRAMES]]


def _good_photos(dataset: Dataset, ready: Sequence[Prepared]) -> Sequence[Path]:
    """Return good photos that a training held out; of taught detectors alone any."""
    return next((p.held_out for p in ready if p.held_out), dataset.train)


def _machine(measured: Sequence[_Measured], frame: images.Image, plan: Plan) -> Machine:
    return Machine(
        cpu=cpu.model_name(),
        threads=plan.threads or cpu.default_threads(),
        runtimes={entry.runtime: entry.version for entry in measured},
        unavailable={name: why for name, why in available().items() if why is not None},
        frame_size=(frame.shape[0], frame.shape[1]),
    )


def _remarks(dataset: Dataset, variants: Sequence[Variant]) -> tuple[str, ...]:
    aurocs = [v.image_auroc for v in variants if v.image_auroc is not None]
    found = [*accuracy.empty_columns(dataset), *dataset.warnings()]
    if (words := accuracy.uncertainty(dataset, aurocs)) is not None:
        found.append(words)
        found.append(
            "the recommendation was chosen on these test photos: confirm it on other photos"
        )
    return tuple(found)


def _write(
    comparison: Comparison,
    measured: Sequence[_Measured],
    ready: Sequence[Prepared],
    dataset: Dataset,
    plan: Plan,
) -> None:
    shown: dict[str, _Measured] = {}
    for entry in measured:
        label, is_fp32 = entry.prepared.detector.label, entry.artifact.manifest.kind == FP32
        if is_fp32 or len(entry.prepared.artifacts) == 1:
            shown.setdefault(label, entry)
    accuracies = [entry.accuracy for entry in shown.values() if entry.accuracy is not None]
    chosen = pictures.choose(dataset, accuracies, _good_photos(dataset, ready))
    maps = pictures.side_by_side(
        chosen, {label: (entry.artifact.path, entry.runtime) for label, entry in shown.items()}
    )
    files.write_json(plan.out / JSON_NAME, comparison.to_json())
    files.write_text(plan.out / MARKDOWN_NAME, markdown.document(comparison))
    webpage.write(plan.out / PAGE_NAME, comparison, maps)
