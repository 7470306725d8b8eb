"""ONNX files: the manifest and the seal are entries of the model's own metadata."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from edgead import files
from edgead.artifact import _onnx_file
from edgead.artifact.artifact import Artifact
from edgead.artifact.containers import Container
from edgead.artifact.manifest import Manifest
from edgead.errors import ArtifactError

_MANIFEST_KEY = "edgead.manifest"
_SEAL_KEY = "edgead.sha256"
_UNSEALED = "0" * 64


def write_artifact(path: str | os.PathLike[str], model: bytes, manifest: Manifest) -> Artifact:
    """Put a manifest into an ONNX model, seal it, and write it in one piece.

    Args:
        path: The artifact's path.
        model: A serialised ONNX model (with or without an older manifest).
        manifest: The manifest to store.

    Returns:
        The artifact as :func:`edgead.artifact.read_artifact` returns it.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    text = manifest.to_json()
    Manifest.from_json(text, str(path))
    unsealed = _onnx_file.with_metadata(model, _MANIFEST_KEY, text)
    unsealed = _onnx_file.with_metadata(unsealed, _SEAL_KEY, _UNSEALED)
    position = _onnx_file.read_entries(unsealed)[_SEAL_KEY].start
    seal = _digest_without(unsealed, position)
    sealed = unsealed[:position] + seal.encode() + unsealed[position + len(seal) :]
    files.write_bytes(path, sealed)
    return Artifact(Path(path), manifest, seal, len(sealed))


def _read(path: Path, data: bytes) -> tuple[Manifest, str]:
    metadata = _read_metadata(path, data)
    if _MANIFEST_KEY not in metadata:
        raise ArtifactError(
            f"{path} is an ONNX model without an edgead manifest; only files written by "
            "'edgead export' can be used here"
        )
    manifest = Manifest.from_json(metadata[_MANIFEST_KEY].text, str(path))
    if manifest.engine is not None:
        raise ArtifactError(
            f"{path} is an ONNX file with the manifest of a TensorRT engine: export it again"
        )
    seal = _seal(path, metadata)
    found = _digest_without(data, seal.start)
    if found != seal.text:
        raise ArtifactError(
            f"{path} was changed or damaged after the export: its seal has sha256 "
            f"{seal.text[:12]}…, its content {found[:12]}…; copy it again or export it again"
        )
    return manifest, seal.text


def _digest(path: Path, data: bytes) -> str:
    return _digest_without(data, _seal(path, _read_metadata(path, data)).start)


CONTAINER = Container(_read, _digest)


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
            f"{path} has weights in another file (external data), which the seal does not cover: "
            "store them inside the model, or export it again"
        )
    return metadata


def _seal(path: Path, metadata: dict[str, _onnx_file.Text]) -> _onnx_file.Text:
    seal = metadata.get(_SEAL_KEY)
    if seal is None or not re.fullmatch("[0-9a-f]{64}", seal.text):
        raise ArtifactError(f"{path} has a manifest but no seal (sha256): export it again")
    return seal


def _digest_without(data: bytes, position: int) -> str:
    """Hash a file as if its seal at ``position`` were zeros, without copying the file."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:position])
    digest.update(_UNSEALED.encode())
    digest.update(view[position + len(_UNSEALED) :])
    return digest.hexdigest()
