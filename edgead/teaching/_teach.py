"""Teach a detector: from photos of good parts to a checked file, without training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx

import edgead
from edgead import blas, notices, resizing
from edgead.artifact import (
    FP32,
    INT8,
    ONNX_SUFFIX,
    SCORE,
    Artifact,
    InputSpec,
    Manifest,
    ModelSpec,
    ParitySpec,
    PhotoSizes,
    QuantizationSpec,
    ScoreStatistics,
    TeacherSpec,
    ThresholdSpec,
    TrainingSpec,
    ViewSpec,
    write_artifact,
)
from edgead.backbones import safetensors, weights, weights_file
from edgead.backbones.known import BACKBONES, LITE0
from edgead.calibration.photos import CalibrationPhotos
from edgead.contrast import GoodContrast
from edgead.errors import DataError, GateRefused, UsageError
from edgead.export import gate, parity, qdq, verdict
from edgead.export.judge import Judge
from edgead.export.network import Candidate
from edgead.export.workbench import Checked, Workbench
from edgead.runtimes import heap
from edgead.runtimes.base import ContractError
from edgead.runtimes.onnxruntime import OnnxRuntime
from edgead.teaching import int8, labelled, padim, patchcore
from edgead.teaching.extract import Extractor
from edgead.teaching.fit import Fitted, Split, fit, fit_again, warn_of_odd
from edgead.teaching.gallery import Gallery, Photos, ResizedReader
from edgead.teaching.learner import Learner
from edgead.teaching.options import TeachOptions
from edgead.teaching.patchcore import Design
from edgead.view import View, merged

MOST_PIXELS = 1_500_000
"""Of one input of the network where tiles are joined (docs/notes/tiles.md has the memory)."""

_PARITY_EACH = 4  # each fourth of the judge's photos is also computed in NumPy


@blas.on_one_thread()
def teach(
    photos: Photos,
    out: str | os.PathLike[str],
    options: TeachOptions | None = None,
    defects: Photos | None = None,
) -> Artifact:
    """Teach a detector with photos of good parts, check it, and write it.

    Args:
        photos: A folder, a data set (``train/good`` is used) or a photo; or several photos and
            frames (uint8 BGR arrays).
        out: The file to write, ``.onnx``.
        options: How; ``None`` for the defaults.
        defects: Photos of labelled defects, likewise, or a folder of them: they choose the stages,
            where the options name none, and the threshold. Never photos that are tested with.

    Returns:
        The artifact. The same photos in any order give the same file on one machine.

    Raises:
        UsageError: The options or the name of the file are wrong.
        DataError: There are no photos, or they show nothing.
        ImageError: A photo cannot be read.
        MissingDependencyError: ``edgead[teach]`` is not installed.
        GateRefused: The file does not keep its scores, or INT8 loses too much; nothing is written.
    """
    options = options or TeachOptions()
    options.check()
    path = output_file(out)
    scope = patchcore.WHOLE
    if options.view is not None and options.view.rows * options.view.columns > 1:
        scope, options = patchcore.PLACE, _with_large_windows(options, options.view)
    size, rate = options.image_size, options.false_positive_rate
    view = View(size, resizing.HALVED, options.view)
    gallery = Gallery.of(photos, view, options.good)
    bad = None if defects is None else Gallery.of_defects(defects, gallery)
    if options.detector == padim.NAME and len(gallery.paths) < padim.FEWEST_PHOTOS:
        raise DataError(
            f"padim needs at least {padim.FEWEST_PHOTOS} photos of good parts, and there "
            f"{'is 1' if len(gallery.paths) == 1 else f'are {len(gallery.paths)}'}: teach with "
            f"{patchcore.NAME}, or with more photos"
        )
    contrast, sizes = gallery.seen()
    split = Split.of(gallery.paths)
    backbone = BACKBONES[options.backbone]
    design, choice = Design(size, options.chosen_stages, backbone, scope), None
    arrays, spec = _weights(options)
    if bad is not None:
        is_open = options.stages is None and options.detector == patchcore.NAME
        others = [dataclasses.replace(design, stages=stages) for stages in backbone.others]
        others = others if is_open else []

        def extractor(one: Design) -> Extractor:
            return Extractor(_build(arrays, options, one).model, view)

        def begun(one: Design) -> Learner:
            return _learner(options, one)

        choice = labelled.choose([design, *others], extractor, begun, gallery, bad, rate)
        design = choice.design
    made = _build(arrays, options, design)
    arrays.clear()  # the graph has its own copy

    def adjusted(found: Fitted, model: onnx.ModelProto) -> Fitted:
        if bad is None or choice is None:
            return found
        return labelled.adjusted(found, Extractor(model, view), bad, rate, choice)

    learner = _learner(options, design)
    fp32 = adjusted(fit(made.model, gallery, split, learner, rate, FP32.name, design), made.model)
    warn_of_odd(fp32.unknown)
    manifest = _manifest(options, design, made, spec, gallery, split, contrast, sizes)
    if bad is not None:
        used = {"defects": len(bad.paths), "defects_sha256": bad.sha256}
        known = manifest.model.options
        manifest = manifest.replace(model=manifest.model.replace(options={**known, **used}))
    calibration = CalibrationPhotos.read(
        split.held_out or split.taught,
        view,
        split.taught if split.held_out else (),
        ResizedReader(gallery),
    )
    judge = Judge(calibration, None)
    with ExitStack() as stack:
        bench = Workbench(judge, stack)
        checked = _scored(bench, _candidate(made.model, design, fp32, manifest))
        found = _parity(made.model, design, fp32, judge, checked)
        parity.require_fp32(found, str(path))
        _require_runtimes(checked, str(path))
        final = checked.manifest.replace(parity=found)
        checked.scored.describe(final)
        if options.int8:
            heap.return_freed()
            integers = int8.integer_backbone(made.model, calibration.for_ranges())
            del made
            heap.return_freed()
            integer = adjusted(
                fit_again(integers, gallery, split, learner, rate, INT8.name, design), integers
            )
            quantization = QuantizationSpec(
                method="static",
                scheme=int8.SCHEME,
                calibrator="minmax",
                images=len(calibration.all_good),
                images_sha256=calibration.sha256,
                largest_weight=qdq.LARGEST_WEIGHT,
                runtimes=(OnnxRuntime.name,),
            )
            quantized = manifest.replace(precision=INT8.name, quantization=quantization)
            candidate = _candidate(integers, design, integer, quantized)
            reference, checked = checked, _scored(bench, candidate)
            _require_runtimes(checked, str(path))
            judged = verdict.without_labels(
                judge, reference.scored, checked.scored, options.max_drop
            )
            if judged.refusal is not None:
                raise GateRefused(
                    f"{path} was not written: INT8 was refused, because {judged.refusal}; leave "
                    "out --int8, teach with more photos, or allow more with --max-drop"
                )
            final = judged.recorded(checked.manifest, options.max_drop)
        return write_artifact(path, checked.candidate.graph, final)


def _with_large_windows(options: TeachOptions, view: ViewSpec) -> TeachOptions:
    """Join tiles into inputs of the network as large as memory allows: fewer seams, less overlap.

    Raises:
        UsageError: More than one is left, and the detector learns each place of a part.
    """
    size, view = merged(options.image_size, view, MOST_PIXELS)
    count = view.rows * view.columns
    if options.detector == padim.NAME and count > 1:
        raise UsageError(
            f"padim learns each place of a part, and {count} windows show different places of it: "
            f"teach with {patchcore.NAME}, or with fewer tiles"
        )
    return dataclasses.replace(options, image_size=size, view=view)


def _weights(options: TeachOptions) -> tuple[safetensors.Arrays, TeacherSpec]:
    """Load the backbone's weights, and what is known about them.

    Raises:
        UsageError: A file is missing, or given for a backbone whose weights are installed.
    """
    file = options.backbone_weights
    if options.backbone == LITE0.name:
        if file is not None:
            raise UsageError(
                f"the weights of {LITE0.name} are those that are installed: leave out "
                f"--backbone-weights {file}, or name the backbone of that file with --backbone"
            )
        return weights.load(), weights.SPEC
    if file is None:
        raise UsageError(
            f"no weights of {options.backbone} are installed: give a file with --backbone-weights "
            "FILE (safetensors, or a state dict of torch.save)"
        )
    return weights_file.load(file, options.backbone)


def output_file(out: str | os.PathLike[str]) -> Path:
    """Return the file to write.

    Raises:
        UsageError: Its name does not end in ``.onnx``, or it is a folder.
    """
    path = Path(out)
    if path.suffix.lower() != ONNX_SUFFIX or path.is_dir():
        raise UsageError(
            f"{path} is not the name of an {ONNX_SUFFIX} file: write for example part.onnx"
        )
    return path


def _build(arrays: safetensors.Arrays, options: TeachOptions, design: Design) -> patchcore.Made:
    build = padim.build if options.detector == padim.NAME else patchcore.build
    return build(arrays, design)


def _learner(options: TeachOptions, design: Design) -> Learner:
    if options.detector == padim.NAME:
        return padim.Padim(design.cells)
    return patchcore.Patchcore(options.coreset)


def _candidate(
    empty: onnx.ModelProto, design: Design, fitted: Fitted, manifest: Manifest
) -> Candidate:
    learned = fitted.head.tensors()
    digest = hashlib.sha256()
    for values in (*learned.values(), fitted.texture.weight, fitted.texture.bias):
        digest.update(np.ascontiguousarray(values).tobytes())
    assert manifest.teacher is not None
    known = manifest.teacher.sha256
    digest.update(json.dumps([known, manifest.model.options], sort_keys=True).encode())
    macs = fitted.head.macs(design.cells)
    model = manifest.model.replace(
        parameters=manifest.model.parameters + sum(values.size for values in learned.values()),
        gmac=round(manifest.model.gmac + macs / 1e9, 4),
    )
    described = manifest.replace(
        model=model,
        threshold=fitted.threshold,
        score_statistics=fitted.statistics,
        source_sha256=digest.hexdigest(),
    )
    graph = patchcore.with_head(empty, fitted.head, fitted.texture)
    return Candidate(graph.SerializeToString(deterministic=True), described)


def _scored(bench: Workbench, candidate: Candidate) -> Checked:
    try:
        return bench.score(candidate)
    except ContractError as error:
        raise GateRefused(f"nothing was written: {error.problem}") from error


def _parity(
    empty: onnx.ModelProto, design: Design, fitted: Fitted, judge: Judge, checked: Checked
) -> ParitySpec:
    """Compare the graph with the same computed in NumPy from its patch vectors."""
    extractor = Extractor(empty)
    maps = np.stack(
        [
            patchcore.maps(extractor.patches(photo), fitted.head, fitted.texture, design)
            for photo in judge.batch[::_PARITY_EACH]
        ]
    )
    reference = parity.Scored(maps.max((1, 2)), maps)
    outputs = checked.scored.outputs
    judged = judge.photos.judged(design.map_spec)
    if judged is not None:
        reference = reference.only(judged[::_PARITY_EACH])
    found = parity.Scored(outputs.scores[::_PARITY_EACH], outputs.maps[::_PARITY_EACH])
    limit = fitted.threshold.value
    return parity.compare(reference, found, (limit, limit), "numpy")


def _require_runtimes(checked: Checked, what: str) -> None:
    """Refuse a file whose scores depend on the runtime, and warn where they do a little.

    Raises:
        GateRefused: Names the runtime.
    """
    is_int8 = checked.candidate.kind.is_int8
    usual = parity.RUNTIME_TOLERANCE if is_int8 else parity.FP32_TOLERANCE
    for name, difference in checked.apart.items():
        apart = (
            f"scores in {name} differ from scores in ONNX Runtime by up to {difference:.1e} of the "
            "score range"
        )
        if difference > gate.OTHER_RUNTIMES:
            raise GateRefused(
                f"{what} was not written: {apart} (allowed: {gate.OTHER_RUNTIMES:.0e}); please "
                f"report it, or teach where {name} is not installed"
            )
        if difference > usual:
            notices.warn(f"{apart}: do not use this file with --runtime {name}")


def _manifest(
    options: TeachOptions,
    design: Design,
    made: patchcore.Made,
    spec: TeacherSpec,
    gallery: Gallery,
    split: Split,
    contrast: GoodContrast,
    sizes: PhotoSizes,
) -> Manifest:
    """Return the manifest of the FP32 graph before anything was learned."""
    height, width = options.image_size
    nothing = ThresholdSpec(0.0, "none", options.false_positive_rate, 0, "")
    empty = ScoreStatistics(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Manifest(
        edgead_version=edgead.__version__,
        model=ModelSpec(
            options.detector,
            made.parameters,
            made.gmac,
            {
                "backbone": design.backbone.name,
                "stages": list(design.stages),
                **({"coreset": options.coreset} if options.detector == patchcore.NAME else {}),
                # Files without it are of the time before it.
                **({"scope": design.scope} if design.scope != patchcore.WHOLE else {}),
            },
        ),
        input=InputSpec(height, width, "uint8", "NHWC", "BGR", gallery.view.resize),
        view=gallery.view.spec,
        map=design.map_spec,
        score=SCORE,
        threshold=nothing,
        score_statistics=empty,
        precision=FP32.name,
        source_sha256="0" * 64,
        teacher=spec,
        training=TrainingSpec(
            dataset=gallery.name,
            images=len(split.taught),
            held_out=len(split.held_out),
            steps=0,
            seed=0,
            finished="",  # a date would make another file of the same photos
            photo_sizes=sizes,
            least_contrast=contrast.least,
            contrast_left_out=len(contrast.odd),
        ),
    )
