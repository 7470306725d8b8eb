"""Files of another training that lie beside what was just exported."""

from __future__ import annotations

from pathlib import Path

from edgead import notices
from edgead.artifact import Manifest, containers, read_artifact
from edgead.errors import ArtifactError


def of_another_training(folder: Path, manifest: Manifest) -> dict[Path, Manifest]:
    """Find artifacts of the same detector whose weights came from another training.

    Args:
        folder: The export folder; files in it that are no whole artifacts are passed over.
        manifest: Manifest of the new files.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if not containers.is_known(path):
            continue
        try:
            other = read_artifact(path).manifest
        except ArtifactError:
            continue
        is_same_kind = other.model.name == manifest.model.name
        if is_same_kind and other.detector != manifest.detector:
            found[path] = other
    return found


def warn(folder: Path, manifest: Manifest) -> None:
    """Warn of files of another training in the folder; they are left there."""
    for path, other in of_another_training(folder, manifest).items():
        notices.warn(
            f"{path} comes from another training (finished {other.training.finished}) than the "
            f"new files ({manifest.training.finished}): {_advice(other)}"
        )


def _advice(manifest: Manifest) -> str:
    is_compressed = manifest.compression is not None and manifest.engine is None
    words = [*(["--compress"] if is_compressed else []), manifest.kind.option]
    again = f"export again with {' '.join(filter(None, words))}, or " if any(words) else ""
    return f"{again}move it away"
