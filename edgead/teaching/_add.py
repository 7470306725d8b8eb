"""Add good photos to a detector that was taught, without the photos that it was taught with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

import edgead
from edgead import blas, notices
from edgead.artifact import (
    FP32,
    INT8,
    Artifact,
    Manifest,
    ParitySpec,
    PhotoSizes,
    ScoreStatistics,
    ThresholdSpec,
    TrainingSpec,
    read_artifact,
    write_artifact,
)
from edgead.backbones.known import BACKBONES
from edgead.calibration import threshold as thresholds
from edgead.calibration.outliers import FAR
from edgead.contrast import GoodContrast
from edgead.errors import ArtifactError, UsageError
from edgead.export import parity
from edgead.export.workbench import Draft
from edgead.progress import progress
from edgead.runtimes import open_runtime
from edgead.teaching import DETECTORS, patchcore
from edgead.teaching._teach import output_file
from edgead.teaching.coreset import Coreset
from edgead.teaching.extract import Extractor
from edgead.teaching.fit import altered
from edgead.teaching.gallery import Gallery, Photos
from edgead.teaching.learner import Head
from edgead.teaching.options import TeachOptions
from edgead.teaching.patchcore import Design
from edgead.teaching.scoring import Scoring
from edgead.teaching.texture import Texture
from edgead.view import View


@blas.on_one_thread()
def add(
    artifact: str | os.PathLike[str],
    photos: Photos,
    out: str | os.PathLike[str],
    good: Sequence[str] = (),
) -> Artifact:
    """Teach a detector more photos of good parts and choose its threshold again.

    The photos are scored before they are learned: with the statistics in the file these scores give
    the new threshold. Photos above the old threshold are learned and do not raise it.

    Args:
        artifact: A file of :func:`edgead.teaching.teach`, FP32 or INT8.
        photos: Photos of good parts.
        out: The file to write; may be the same.
        good: Names of folders of a data set, besides ``good``, with photos of good parts.

    Returns:
        The new artifact.

    Raises:
        UsageError: The file was not taught, or ``out`` is no name of a file.
        ArtifactError: The file is damaged.
        DataError: There are no photos, or they show nothing.
    """
    path = output_file(out)
    source = read_artifact(artifact)
    manifest = source.manifest
    design, size = _taught(source)
    model = _graph(source)
    bank = patchcore.bank_of(model)
    known = patchcore.Nearest(bank)
    view = View.of(manifest)
    gallery = Gallery.of(photos, view, good)
    contrast, sizes = gallery.seen()
    extractor, scoring = Extractor(model, view), Scoring(design, view)
    collected = Coreset(size)
    collected.add(bank, -1)
    places = design.map_cells[0] * design.map_cells[1]
    known_texture = patchcore.texture_of(model)
    moments = known_texture.moments(manifest.training.images * places * len(view.places))
    scores: list[float] = []
    for owner, one in enumerate(progress(gallery.paths, len(gallery.paths), "learning")):
        patches = extractor.patches(gallery.resized(one))
        scores.append(scoring.score(patches, known, known_texture))
        collected.add(patches.deep, owner)
        moments += scoring.moments(patches)
    _warn_of_odd(gallery.paths, scores, manifest)
    vectors = collected.choose().vectors
    texture = moments.texture()
    head = patchcore.Nearest(vectors)
    changed = patchcore.with_head(model, head, texture)
    threshold, statistics = _refitted(manifest, scores)
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update(texture.weight.tobytes() + texture.bias.tobytes())
    digest.update(json.dumps([manifest.source_sha256, manifest.model.options]).encode())
    more = vectors.size - bank.size
    cells = design.cells[0] * design.cells[1]
    described = manifest.replace(
        edgead_version=edgead.__version__,
        model=manifest.model.replace(
            parameters=manifest.model.parameters + more,
            gmac=round(manifest.model.gmac + more * cells / 1e9, 4),
        ),
        threshold=threshold,
        score_statistics=statistics,
        source_sha256=digest.hexdigest(),
        training=_training(manifest.training, len(gallery.paths), contrast, sizes),
        gate=None,  # of another bank
    )
    graph = changed.SerializeToString(deterministic=True)
    found = _parity(described, graph, gallery, Extractor(model), head, texture, design)
    parity.require_fp32(found, str(path))
    return write_artifact(path, graph, described.replace(parity=found))


def _taught(source: Artifact) -> tuple[Design, int]:
    """Return the design of a taught file and the size of its bank.

    Raises:
        UsageError: It was not taught.
        ArtifactError: Its manifest has options that no such file has.
    """
    manifest = source.manifest
    if manifest.model.name not in DETECTORS or manifest.kind not in (FP32, INT8):
        raise UsageError(
            f"{source.path} was not taught (it is {manifest.name}), so no photos can be added: "
            "give a file of 'edgead teach'"
        )
    if manifest.model.name != patchcore.NAME:
        raise UsageError(
            f"{source.path} was taught with {manifest.model.name}, which cannot learn more photos: "
            "teach again with all of them, or with --detector patchcore"
        )
    stages, size = (_numbers(manifest.model.options.get(key)) for key in ("stages", "coreset"))
    options = TeachOptions(
        image_size=manifest.input.size,
        stages=stages,
        backbone=str(manifest.model.options.get("backbone")),
        coreset=size[0] if len(size) == 1 else 0,
    )
    try:
        options.check()
    except UsageError as error:
        raise ArtifactError(
            f"{source.path} has a manifest that 'edgead teach' does not write: {error}; teach again"
        ) from error
    scope = str(manifest.model.options.get("scope", patchcore.WHOLE))
    if scope not in patchcore.SCOPES:
        raise ArtifactError(
            f"{source.path} has a score of the scope {scope!r}, which this edgead does not know "
            f"({' and '.join(patchcore.SCOPES)}): use the edgead that taught it, or teach again"
        )
    return Design(options.image_size, stages, BACKBONES[options.backbone], scope), options.coreset


def _numbers(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(values) if all(type(one) is int for one in values) else ()


def _graph(source: Artifact) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(source.content())
        made = {name for node in model.graph.node for name in node.output}
        vectors, _ = patchcore.bank_of(model), patchcore.texture_of(model)
    except (DecodeError, ValueError) as error:
        raise ArtifactError(f"{source.path} is not valid ONNX: teach again") from error
    except ArtifactError as error:
        raise ArtifactError(
            f"{source.path} was taught by another version of edgead ({error}): teach again"
        ) from error
    if not {patchcore.FEATURES, patchcore.SURFACE} <= made or not vectors.size:
        raise ArtifactError(f"{source.path} has no patch vectors: teach again")
    return model


def _warn_of_odd(paths: Sequence[Path], scores: Sequence[float], manifest: Manifest) -> None:
    known = manifest.score_statistics
    limit = max(known.maximum, known.mean + FAR * known.std)
    for path, score in zip(paths, scores, strict=True):
        if score > limit:
            notices.warn(
                f"{path} is an odd one: it scores {score:.3f}, the good photos before at most "
                f"{known.maximum:.3f}. If it shows a defect, that defect is no longer found: add "
                "the others without it"
            )


def _refitted(manifest: Manifest, scores: Sequence[float]) -> tuple[ThresholdSpec, ScoreStatistics]:
    """Choose the threshold from what the file knows of its scores, and from new ones."""
    old, known = manifest.threshold, manifest.score_statistics
    usual = [score for score in scores if score <= old.value]
    above = len(scores) - len(usual)
    statistics = _pooled(known, usual)
    rate = old.false_positive_rate
    if rate is None:
        return old, known
    learned = f"{above} added photos above the old threshold were learned and do not raise it"
    if not usual:
        return dataclasses.replace(old, note="; ".join([old.note, learned][not old.note :])), known
    count = statistics.images
    bound = thresholds.prediction_bound(statistics, rate)
    largest = statistics.maximum if count < 1 / rate else float(np.quantile(usual, 1 - rate))
    note = f"{len(usual)} scores of added photos and the statistics of {known.images} before"
    if above:
        note += f"; {learned}"
    if count < 1 / rate:
        note += (
            f"; {count} photos cannot confirm a false-alarm rate of {100 * rate:.4g} %: check the "
            "threshold on more good parts"
        )
    return (
        ThresholdSpec(
            value=max(bound, largest),
            method="normal prediction bound from good photos, before and after some were added",
            false_positive_rate=rate,
            images=count,
            note=note,
        ),
        statistics,
    )


def _pooled(known: ScoreStatistics, scores: Sequence[float]) -> ScoreStatistics:
    """Return the statistics of known scores and new ones; the median is a weighted mean of both."""
    if not scores:
        return known
    new = thresholds.score_statistics(scores)
    count = known.images + new.images
    mean = (known.images * known.mean + new.images * new.mean) / count
    squares = sum(
        (part.images - 1) * part.std**2 + part.images * (part.mean - mean) ** 2
        for part in (known, new)
    )
    return ScoreStatistics(
        images=count,
        mean=mean,
        std=math.sqrt(squares / max(count - 1, 1)),
        minimum=min(known.minimum, new.minimum),
        median=(known.images * known.median + new.images * new.median) / count,
        maximum=max(known.maximum, new.maximum),
    )


def _training(
    known: TrainingSpec, count: int, contrast: GoodContrast, sizes: PhotoSizes
) -> TrainingSpec:
    before = known.photo_sizes or sizes
    least = known.least_contrast or contrast.least
    return dataclasses.replace(
        known,
        images=known.images + count,
        photo_sizes=PhotoSizes(
            min(before.lowest, sizes.lowest),
            max(before.highest, sizes.highest),
            min(before.narrowest, sizes.narrowest),
            max(before.widest, sizes.widest),
        ),
        least_contrast=tuple(map(min, zip(least, contrast.least, strict=True))),
        contrast_left_out=(known.contrast_left_out or 0) + len(contrast.odd),
    )


def _parity(
    manifest: Manifest,
    graph: bytes,
    gallery: Gallery,
    extractor: Extractor,
    head: Head,
    texture: Texture,
    design: Design,
) -> ParitySpec:
    """Compare the new graph with NumPy on some of the added photos."""
    view = gallery.view
    canvases = [gallery.resized(path) for path in gallery.paths[:16]]
    photos = [
        view.windows(canvas)[index % len(view.places)] for index, canvas in enumerate(canvases)
    ]
    # One photo has one score, and a difference is a share of the range of the scores.
    batch = np.stack([*photos, *altered(photos[0])])
    maps = np.stack(
        [patchcore.maps(extractor.patches(photo), head, texture, design) for photo in batch]
    )
    with open_runtime(Draft.of(manifest, graph), "onnxruntime").runtime as runtime:
        found = parity.score(runtime, batch, manifest.name)
    limit = manifest.threshold.value
    return parity.compare(parity.Scored(maps.max((1, 2)), maps), found, (limit, limit), "numpy")
