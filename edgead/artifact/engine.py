"""TensorRT engines: the manifest lies beside the engine, in ``NAME.engine.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
from pathlib import Path
from typing import Any

from edgead.artifact import sidecar
from edgead.artifact.manifest import Manifest
from edgead.artifact.specs import EngineSpec
from edgead.errors import ArtifactError

_BATCH = 8


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Return where the manifest of an engine lies."""
    return sidecar.path_beside(path)


def write_engine(path: str | os.PathLike[str], plan: bytes, manifest: Manifest) -> None:
    """Write an engine and its sidecar.

    Args:
        path: The engine's path.
        plan: The engine from TensorRT.
        manifest: With its ``engine`` section; the engine's hash in it is filled in here.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    assert manifest.engine is not None
    spec = dataclasses.replace(manifest.engine, sha256=hashlib.sha256(plan).hexdigest())
    sidecar.write_pair(Path(path), plan, manifest.replace(engine=spec), {})


def rebuild_command(spec: EngineSpec, batch: int | None = None) -> str:
    """Return the command that builds an engine again, on the machine that runs it.

    Args:
        spec: The engine's part of the manifest.
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


def _digest(beside: Path, manifest: Manifest, _: dict[str, Any]) -> str:
    # In the manifest's own section, not where other sidecars have it: devices have such files.
    if manifest.engine is None:
        raise ArtifactError(f"{beside} has no key 'engine': it is not the sidecar of an engine")
    return manifest.engine.sha256


def _again(manifest: Manifest | None) -> str:
    if manifest is None or manifest.engine is None:
        return (
            "copy both files again, or build the engine again (edgead export ARTIFACT.onnx "
            "--tensorrt)"
        )
    return f"copy both files again, or build it again: {rebuild_command(manifest.engine)}"


CONTAINER = sidecar.container_in(sidecar.Form("engine", _digest, _again))
