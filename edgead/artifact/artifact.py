"""Reading and writing artifacts, with the seal that shows damage."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from edgead import files
from edgead.artifact import _onnx_file, engine
from edgead.artifact.manifest import Manifest
from edgead.errors import ArtifactError

METADATA_KEY = "edgead.manifest"
_SEAL_KEY = "edgead.sha256"
_UNSEALED = "0" * 64
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
        """Whether it is a TensorRT engine; else it is an ONNX file."""
        return _is_engine(self.path)

    def content(self) -> bytes:
        """Read the file again, and check that it still is the one that was validated.

        Runtimes load these bytes and never the path: between the two the file may be exchanged.

        Returns:
            The whole ONNX file or engine.

        Raises:
            ArtifactError: It cannot be read, or is another file than before.
        """
        data = _read_file(self.path)
        if self.is_engine:
            found = hashlib.sha256(data).hexdigest()
        else:
            seal = _seal(self.path, _read_metadata(self.path, data))
            found = _digest_without(data, seal.start)
        if found != self.sha256:
            raise ArtifactError(
                f"{self.path} was exchanged or changed after it was opened: it had sha256 "
                f"{self.sha256[:12]}… and now has {found[:12]}…; open it again"
            )
        return data


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact's manifest and check that the file is whole and unchanged.

    Args:
        path: An ``.onnx`` or ``.engine`` file written by ``edgead export``; beside an engine lies
            its sidecar, ``NAME.engine.json``.

    Raises:
        ArtifactError: The file is missing, truncated, changed after export, an ONNX model without
            a manifest, an engine without its sidecar, none of both, or of a newer edgead.
    """
    path = Path(path)
    data = _read_file(path)
    if _is_engine(path):
        manifest = engine.read_sidecar(path, data)
        assert manifest.engine is not None
        return Artifact(path, manifest, manifest.engine.sha256, len(data))
    metadata = _read_metadata(path, data)
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{path} is an ONNX model without an edgead manifest; only files written by "
            "'edgead export' can be used here"
        )
    manifest = Manifest.from_json(metadata[METADATA_KEY].text, str(path))
    if manifest.engine is not None:
        raise ArtifactError(
            f"{path} is an ONNX file whose manifest says that it is a TensorRT engine: export it "
            "again"
        )
    seal = _seal(path, metadata)
    found = _digest_without(data, seal.start)
    if found != seal.text:
        raise ArtifactError(
            f"{path} was changed or damaged after export: its seal says sha256 {seal.text[:12]}… "
            f"and its content has {found[:12]}…; copy it again or export it again"
        )
    return Artifact(path, manifest, seal.text, len(data))


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


def _is_engine(path: Path) -> bool:
    return path.suffix.lower() == engine.SUFFIX


def _read_metadata(path: Path, data: bytes) -> dict[str, _onnx_file.Text]:
    try:
        metadata = _onnx_file.read_entries(data)
        is_whole = not _onnx_file.has_external_data(data)
    except _onnx_file.NotOnnxError as error:
        raise ArtifactError(
            f"{path} is not a whole ONNX file ({error}): it is truncated or not a model; "
            "copy it again or export it again"
        ) from error
    if not is_whole:
        raise ArtifactError(
            f"{path} keeps weights in another file (external data), which no seal covers: store "
            "them inside of the model, or export it again"
        )
    return metadata


def _seal(path: Path, metadata: dict[str, _onnx_file.Text]) -> _onnx_file.Text:
    seal = metadata.get(_SEAL_KEY)
    if seal is None or not re.fullmatch("[0-9a-f]{64}", seal.text):
        raise ArtifactError(f"{path} has a manifest but no seal (sha256): export it again")
    return seal


def write_artifact(path: str | os.PathLike[str], model: bytes, manifest: Manifest) -> Artifact:
    """Put a manifest into an ONNX model, seal it, and write it in one piece.

    Args:
        path: Where the artifact shall be.
        model: A serialised ONNX model (with or without an older manifest).
        manifest: What the model shall say about itself.

    Returns:
        The artifact as :func:`read_artifact` would give it.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    text = manifest.to_json()
    Manifest.from_json(text, str(path))
    unsealed = _onnx_file.with_metadata(model, METADATA_KEY, text)
    unsealed = _onnx_file.with_metadata(unsealed, _SEAL_KEY, _UNSEALED)
    position = _onnx_file.read_entries(unsealed)[_SEAL_KEY].start
    seal = _digest_without(unsealed, position)
    sealed = unsealed[:position] + seal.encode() + unsealed[position + len(seal) :]
    files.write_bytes(path, sealed)
    return Artifact(Path(path), manifest, seal, len(sealed))


def _digest_without(data: bytes, position: int) -> str:
    """Hash a file as if its seal at ``position`` were zeros, without copying the file."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:position])
    digest.update(_UNSEALED.encode())
    digest.update(view[position + len(_UNSEALED) :])
    return digest.hexdigest()
