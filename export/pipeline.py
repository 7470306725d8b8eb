"""The export of a run, start to finish."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgead import images
from edgead.artifact import Artifact, write_artifact
from edgead.errors import DataError
from edgead.export import latency, parity, report
from edgead.export.report import Variant
from edgead.runtimes import open_runtime


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    photos: Sequence[Path] | None = None,
    validate: str | None = None,
) -> list[Variant]:
    """Export a finished training to ONNX and prove that its scores are unchanged.

    Args:
        run: The run folder.
        out: The export folder; made when missing. Files of the same names in it are replaced
            once the new ones have passed their checks.
        photos: Good photos for the parity check; ``None`` for those that the training held out.
        validate: A folder with labelled test photos, to report image AUROC before and after.

    Returns:
        The variants, accepted ones first. The report is written beside the artifacts.

    Raises:
        TrainingError: The run has not finished or is damaged.
        DataError: The parity photos are gone.
        ParityError: The graph does not give the detector's scores; nothing was written.
    """
    from edgead.export.graph import to_onnx
    from edgead.training import Run
    from edgead.training.reference import TorchReference

    source = Run(Path(run))
    model, manifest = source.load_model()
    paths = (
        held_out_photos(source.read_record().held_out, source.path) if photos is None else photos
    )
    batch = parity.parity_photos(paths, manifest.input.size)
    proto = to_onnx(model)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with (
        TorchReference.from_run(source.path) as reference,
        tempfile.TemporaryDirectory(prefix=".export-", dir=out) as scratch,
    ):
        name = manifest.name
        draft = write_artifact(Path(scratch) / f"{name}.onnx", proto, manifest)
        with open_runtime(draft, "onnxruntime").runtime as exported:
            found = parity.compare(
                parity.score(reference, batch),
                parity.score(exported, batch),
                manifest.threshold.value,
                "torch",
            )
            parity.require_fp32(found, f"{out / name}.onnx")
            milliseconds = latency.side_by_side({name: exported}, batch[:1])[name]
            runtime_name = exported.describe().name
        auroc, drop = _validated(source.path, draft, validate)
        artifact = write_artifact(out / f"{name}.onnx", proto, manifest.replace(parity=found))
    variants = [
        Variant(
            name=name,
            file=artifact.path.name,
            precision=manifest.precision,
            gmac=manifest.model.gmac,
            size_bytes=artifact.size_bytes,
            latency_ms=milliseconds,
            runtime=runtime_name,
            parity=found,
            image_auroc=auroc,
            image_auroc_drop=drop,
            accepted=True,
            reason="same scores as torch",
        )
    ]
    report.write(out, variants, f"edgead predict {artifact.path} IMAGES --out results")
    return variants


def held_out_photos(paths: Sequence[Path], run: Path) -> Sequence[Path]:
    """Check that the held-out photos of a run are still where they were.

    Raises:
        DataError: Names the first one that is gone and what to give in its place.
    """
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"the held-out photo {path} of {run} is not there any more; put the photos back "
                "or give good photos with --calibration DIR"
            )
    return paths


def calibration_photos(folder: str) -> list[Path]:
    """List the good photos of a folder given in place of the held-out ones."""
    return images.find_images([folder])


def _validated(
    run: Path, draft: Artifact, validate: str | None
) -> tuple[float | None, float | None]:
    """Return the draft's image AUROC on labelled photos and its drop from torch, in points."""
    if validate is None:
        return None, None
    from edgead.datasets import Dataset
    from edgead.detector import EdgeDetector, open_detector
    from edgead.evaluation import evaluate

    dataset = Dataset.from_folder(validate)
    with open_detector(run) as reference:
        before = evaluate(reference, dataset).image_auroc
    with EdgeDetector(draft.path, "onnxruntime") as detector:
        after = evaluate(detector, dataset).image_auroc
    if before is None or after is None:
        raise DataError(
            f"{validate} has no labelled photos of both good and defective parts, which "
            "--validate needs"
        )
    return after, 100 * (before - after)
