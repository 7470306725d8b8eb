"""TensorRT engines: the manifest lies beside the engine, in ``NAME.engine.json``.

A header inside the engine would break every other program that loads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import Any

from edgead import files, strict_json
from edgead.artifact.manifest import MOST_CHARACTERS, Manifest
from edgead.artifact.specs import EngineSpec
from edgead.errors import ArtifactError
from edgead.strict_json import Source

SUFFIX = ".engine"
_SEAL = "sha256"
_BATCH = 8
_AGAIN = "copy both files again, or build the engine again (edgead export ARTIFACT.onnx --tensorrt)"


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Return where the manifest of an engine lies."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def read_sidecar(path: Path, plan: bytes) -> Manifest:
    """Read the manifest beside an engine, and check both files.

    Args:
        path: The engine.
        plan: Its content.

    Raises:
        ArtifactError: The sidecar is missing, damaged or changed, or is not that of this engine.
    """
    beside = sidecar_path(path)
    try:
        text = files.read_regular(beside, MOST_CHARACTERS).decode("utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} has no {beside.name} beside it, which says what it is and where it runs: "
            f"{_AGAIN}"
        ) from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{beside} is not text, so it is damaged: {_AGAIN}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {beside}: {error.strerror}") from error
    manifest = Manifest.from_json(text, str(beside))
    spec = manifest.engine
    if spec is None:
        raise ArtifactError(f"{beside} has no key 'engine': it is not the sidecar of an engine")
    again = f"copy both files again, or build it again: {rebuild_command(spec)}"
    content = strict_json.parse(text, Source(str(beside), ArtifactError, _AGAIN))
    seal = content.pop(_SEAL, None)
    found = _seal(content)
    if seal != found:
        raise ArtifactError(
            f"{beside} was changed by hand or damaged: its seal says sha256 {str(seal)[:12]}… and "
            f"its content has {found[:12]}…; {again}"
        )
    found = hashlib.sha256(plan).hexdigest()
    if found != spec.sha256:
        raise ArtifactError(
            f"{path} is truncated, changed, or not the engine of {beside.name}, which names sha256 "
            f"{spec.sha256[:12]}… and not {found[:12]}…; {again}"
        )
    return manifest


def write_engine(path: str | os.PathLike[str], plan: bytes, manifest: Manifest) -> None:
    """Write an engine and its sidecar.

    Args:
        path: Where the engine shall be.
        plan: What TensorRT built.
        manifest: With its ``engine`` section; the engine's hash in it is filled in here.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    assert manifest.engine is not None
    spec = dataclasses.replace(manifest.engine, sha256=hashlib.sha256(plan).hexdigest())
    sealed = manifest.replace(engine=spec)
    Manifest.from_json(sealed.to_json(), str(sidecar_path(path)))
    content = dataclasses.asdict(sealed)
    content[_SEAL] = _seal(content)
    # A crash in between leaves a pair whose hashes differ, which reading refuses.
    files.write_bytes(path, plan)
    files.write_json(sidecar_path(path), content)


def rebuild_command(spec: EngineSpec, batch: int | None = None) -> str:
    """Return the command that builds an engine again, on the machine where it shall run.

    Args:
        spec: Of the engine.
        batch: Its new largest batch; ``None`` keeps it.
    """
    batch = batch or spec.batch[-1]
    onnx = f"./{spec.onnx}" if spec.onnx.startswith("-") else spec.onnx
    words = ["edgead", "export", onnx, "--out", ".", "--tensorrt", spec.precision]
    if batch != _BATCH:
        words += ["--batch", str(batch)]
    for option, key in (("--workspace", "workspace_mib"), ("--dla", "dla_core")):
        if spec.options.get(key) is not None:
            words += [option, str(spec.options[key])]
    if spec.options.get("calibrator"):
        words += ["--tensorrt-calibrator", str(spec.options["calibrator"]), "--calibration", "GOOD"]
    return shlex.join(words)


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
