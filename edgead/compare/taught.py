"""Detectors that are taught, in a comparison: taught here, or files that were taught before."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import edgead
from edgead import files, notices, strict_json
from edgead.artifact import FP16, INT8, Artifact, read_artifact
from edgead.compare.plan import Contender, Plan
from edgead.compare.prepare import Prepared
from edgead.compare.results import Detector, LeftOut
from edgead.datasets import Dataset
from edgead.errors import EdgeadError, GateRefused, UsageError

_MARK = "compare.json"


def prepare(contender: Contender, plan: Plan, dataset: Dataset) -> Prepared:
    """Teach a contender, or take its file; what an earlier comparison has taught is kept.

    Raises:
        EdgeadError: It cannot be taught with these photos; says why.
    """
    folder = plan.out / "exports" / contender.label
    refused: tuple[LeftOut, ...] = ()
    seconds: float | None = None
    if contender.is_taken:
        artifacts = [_copied(contender.run, folder)]
        notes: tuple[str, ...] = (
            f"taught before: {contender.run}; if test photos were used for it, its figures cannot "
            "be compared with the other detectors",
        )
    else:
        artifacts, refused, seconds = _taught(contender, plan, dataset, folder)
        notes = ()
    manifest = artifacts[0].manifest
    detector = Detector(
        label=contender.label,
        model=manifest.model.name,
        run=str(artifacts[0].path),
        parameters=manifest.model.parameters,
        gmac=manifest.model.gmac,
        steps=0,
        training_photos=manifest.training.images,
        training_seconds=seconds,
        teacher=manifest.teacher.name if manifest.teacher else None,
        notes=notes,
    )
    return Prepared(detector, (), tuple(artifacts), refused)


def _copied(source: Path, folder: Path) -> Artifact:
    copy = folder / source.name
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(copy, source.read_bytes())
    return read_artifact(copy)


def _taught(
    contender: Contender, plan: Plan, dataset: Dataset, folder: Path
) -> tuple[list[Artifact], tuple[LeftOut, ...], float]:
    from edgead.teaching import TeachOptions, teach
    from edgead.training import photos

    options = TeachOptions(
        detector=contender.model,
        image_size=plan.image_size,
        max_drop=plan.max_drop,
        good=plan.good,
        view=plan.view,
    )
    wants_int8 = INT8.arithmetic in plan.precisions
    asked = {
        **_as_json(asdict(options)),
        "edgead_version": edgead.__version__,
        "photos": photos.digest(dataset.train),
        "int8": wants_int8,
    }
    whole, small = folder / f"{contender.model}.onnx", folder / f"{contender.model}-int8.onnx"
    kept = _kept(folder, asked)
    if kept is None:
        begin = time.perf_counter()
        teach(dataset.train, whole, options)
        seconds, reason = time.perf_counter() - begin, ""
        if wants_int8:
            try:
                teach(dataset.train, small, replace(options, int8=True))
            except GateRefused as error:
                notices.say(f"{contender.label}: {error}")
                reason = str(error)
        files.write_json(
            folder / _MARK, {"asked": asked, "seconds": seconds, "int8_refused": reason}
        )
    else:
        notices.say(f"{contender.label}: already taught, using {folder}")
        seconds, reason = float(kept["seconds"]), str(kept["int8_refused"])
    artifacts, refused = [read_artifact(whole)], []
    if reason:
        refused.append(LeftOut(f"{contender.label} INT8", reason))
    elif wants_int8:
        artifacts.append(read_artifact(small))
    if FP16.arithmetic in plan.precisions:
        why = (
            f"FP16 is for GPUs, and is made of the file with 'edgead export {whole} --fp16 "
            "--calibration GOOD --out DIR'"
        )
        refused.append(LeftOut(f"{contender.label} FP16", why))
    return artifacts, tuple(refused), seconds


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _kept(folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an earlier comparison recorded; ``None`` where it must be taught (again)."""
    try:
        found = strict_json.read(folder / _MARK, UsageError, "it is taught again")
        if not isinstance(found, dict) or found.get("asked") != asked:
            return None
        for path in folder.glob("*.onnx"):
            read_artifact(path)
    except EdgeadError:  # missing or damaged
        return None
    return found if {"seconds", "int8_refused"} <= found.keys() else None
