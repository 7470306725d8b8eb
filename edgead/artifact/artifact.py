"""An exported detector on disk, and reading it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from edgead import files
from edgead.artifact import sidecar
from edgead.artifact.containers import container_of, is_known, suffixes
from edgead.artifact.manifest import Manifest
from edgead.errors import ArtifactError

_MOST_BYTES = 2**31 - 1  # the most that a protobuf message, and so an ONNX file, can have


@dataclass(frozen=True)
class Artifact:
    """An exported detector on disk: its path and its validated manifest."""

    path: Path
    manifest: Manifest
    sha256: str
    size_bytes: int

    @property
    def is_engine(self) -> bool:
        """Whether it is a TensorRT engine."""
        return self.manifest.engine is not None

    def content(self) -> bytes:
        """Read the file again, and check that it still is the one that was validated.

        Runtimes load these bytes and never the path: between the two the file may be exchanged.

        Returns:
            The whole file.

        Raises:
            ArtifactError: It cannot be read, or is another file than before.
        """
        data = _read_file(self.path)
        found = container_of(self.path).digest(self.path, data)
        if found != self.sha256:
            raise ArtifactError(
                f"{self.path} was replaced or changed after it was opened: it had sha256 "
                f"{self.sha256[:12]}… and now has {found[:12]}…; open it again"
            )
        return data


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact's manifest and check that the file is whole and unchanged.

    Args:
        path: An ``.onnx`` or ``.engine`` file written by ``edgead export``, or a file of another
            container that is known here (:mod:`edgead.artifact.containers`). Beside an engine lies
            its sidecar, ``NAME.engine.json``.

    Raises:
        ArtifactError: The file is missing, truncated, changed after export, an ONNX model without
            a manifest, an engine without its sidecar, none of both, of a newer edgead, or of a
            container that no package here has.
    """
    path = Path(path)
    if not is_known(path) and sidecar.path_beside(path).is_file():
        raise ArtifactError(
            f"{path} has a manifest beside it, and nothing here reads {path.suffix} files, only "
            f"{', '.join(suffixes())}: install the package of the runtime that it was made for"
        )
    data = _read_file(path)
    manifest, sha256 = container_of(path).read(path, data)
    return Artifact(path, manifest, sha256, len(data))


def _read_file(path: Path) -> bytes:
    try:
        return files.read_regular(path, _MOST_BYTES)
    except IsADirectoryError as error:
        raise ArtifactError(
            f"{path} is a folder, but an exported .onnx file is needed here; make one with: "
            f"edgead export {shlex.quote(str(path))} --out exports"
        ) from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
