"""Engines of some exports on this machine's GPU: built, compared with ONNX Runtime, and timed.

    python -m edgead.benchmarks.tensorrt OUT EXPORTS[=RUN] ... --photos DIR [--python PYTHON]

``EXPORTS`` is a folder that ``edgead export RUN --out EXPORTS --fp16 --int8 static`` wrote; every
FP32, FP16 and INT8 file in it that TensorRT can take becomes an engine. With ``=RUN`` and torch
here, the same detector is timed in torch, FP16, eager and compiled. ``--python`` is the interpreter
that has tensorrt, where it is another one (TensorRT 8.5 ends at Python 3.10).

Writes ``OUT/tensorrt.md`` and ``.json``. Exit code 1 where a check failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgead
from edgead import files, helper_process, images, notices, photo_files
from edgead.artifact import Artifact, EngineSpec, read_artifact, write_engine
from edgead.errors import ArtifactError, EdgeadError
from edgead.runtimes import open_runtime
from edgead.view import View

_MOST = 64
_LIMITS = {"fp32": 1e-3, "fp16": 1e-2, "int8": 1e-1}
"""Largest score difference from ONNX Runtime, as a share of the score range."""


def sources(folder: Path) -> list[Artifact]:
    """Find the files of an export folder that engines are made of."""
    found = [read_artifact(path) for path in sorted(folder.glob("*.onnx"))]
    return [artifact for artifact in found if artifact.manifest.kind.engine is not None]


def measure(artifact: Artifact, photos: Sequence[Path], out: Path, python: str) -> dict[str, Any]:
    """Build and try the engine of one artifact, in the interpreter that has tensorrt.

    Raises:
        EdgeadError: The trial ended without a result; has its last output.
    """
    view = View.of(artifact.manifest)
    batch = np.concatenate([view.windows(view.prepare(images.read_image(path))) for path in photos])
    with open_runtime(artifact, "onnxruntime").runtime as right:
        outputs = [right.infer(photo[None]) for photo in batch]
    name = f"{artifact.path.parent.name}-{artifact.manifest.name}"
    engine = out / f"{name}.engine"
    precision = artifact.manifest.kind.engine
    assert precision is not None  # as in sources()
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data.npz")
        np.savez(
            data,
            photos=batch,
            score=np.concatenate([output.score for output in outputs]),
            anomaly_map=np.concatenate([output.anomaly_map for output in outputs]),
        )
        _assemble(Path(scratch, "path"))
        done = helper_process.run_module(
            "edgead.export.tensorrt.trial",
            [str(artifact.path.resolve()), precision, str(data), str(engine.resolve())],
            python=python,
            search_path=[str(Path(scratch, "path")), *helper_process.named_path()],
            folder=Path(scratch),
        )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        said = (done.stderr.strip().splitlines() or [f"nothing (exit {done.returncode})"])[-1]
        raise EdgeadError(f"the trial of {artifact.path} failed, it said: {said}") from error
    found["name"], found["images"] = name, len(batch)
    found["damage"] = refuses_damage(artifact, engine, found)
    found["failed"] = failures(found)
    return found


def refuses_damage(artifact: Artifact, engine: Path, found: dict[str, Any]) -> str:
    """Change one byte of the engine and say whether opening it is refused."""
    plan = engine.read_bytes()
    known = {field.name for field in dataclasses.fields(EngineSpec)} & set(found)
    spec = EngineSpec(
        **{name: found[name] for name in known},
        multiprocessors=0,
        platform="",
        batch=(1, 1, 8),
        shares_profile=True,
        options={},
        onnx=artifact.path.name,
        onnx_sha256=hashlib.sha256(artifact.content()).hexdigest(),
        sha256="",
    )
    write_engine(engine, plan, artifact.manifest.replace(engine=spec))
    read_artifact(engine)
    engine.write_bytes(plan[:-1] + bytes([plan[-1] ^ 1]))
    try:
        read_artifact(engine)
    except ArtifactError:
        return "refused"
    finally:
        engine.write_bytes(plan)
    return "opened"


def failures(found: dict[str, Any]) -> list[str]:
    """Name the checks that one engine does not pass."""
    failed = []
    limit = _LIMITS[found["precision"]]
    if not found["max_score_diff_relative"] <= limit:
        failed.append(f"scores differ by {found['max_score_diff_relative']:.1e}, allowed {limit:g}")
    if not found["threads"].startswith(("0 of", "not tried")):
        failed.append(f"threads: {found['threads']}")
    if found["left_after_closing_mib"] > 64:
        failed.append(f"{found['left_after_closing_mib']:.0f} MiB are not given back")
    if found["damage"] != "refused":
        failed.append("a changed engine is opened")
    return failed


def torch_latency(run: Path) -> dict[str, float]:
    """Time a run's detector in torch on the GPU, batch 1, FP16 by autocast, host to host."""
    import torch

    from edgead.networks.inputs import channels_last
    from edgead.training import Run

    model, manifest = Run(run).load_model()
    network = channels_last(model.deployable().cuda().eval())
    height, width = manifest.input.size
    photo = torch.zeros(1, height, width, 3, dtype=torch.uint8).pin_memory()

    def times(call: Callable[[Any], Any]) -> float:
        samples = []
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            for index in range(350):
                start = time.perf_counter()
                maps, scores = call(photo.cuda(non_blocking=True))
                maps.cpu(), scores.cpu()
                if index >= 50:
                    samples.append((time.perf_counter() - start) * 1e3)
        return float(np.median(samples))

    return {
        "eager_ms": times(network),
        "compiled_ms": times(torch.compile(network, mode="max-autotune")),
    }


def table(results: list[dict[str, Any]], torch_times: dict[str, dict[str, float]]) -> str:
    """Return the results as Markdown."""
    first = results[0]
    lines = [
        f"{first['gpu']}, compute capability {first['compute_capability']}, driver for CUDA "
        f"{first['cuda_driver']}, TensorRT {first['tensorrt']}, Python {first['python']}, memory "
        f"through {first['memory_backend']}; medians of 300 batches after 50; edgead "
        f"{edgead.__version__}.",
        "",
        "| engine | build s | MB | score diff | b1 host–host ms | b1 compute ms "
        "| b8 host–host ms | b8 compute ms | MiB | threads | checks |",
        "|" + " --- |" * 11,
    ]
    for found in results:
        one, eight = found["latency"]["1"], found["latency"]["8"]
        lines.append(
            f"| {found['name']} {found['precision']} | {found['build_seconds']:.0f} "
            f"| {found['plan_bytes'] / 1e6:.1f} | {found['max_score_diff_relative']:.1e} "
            f"| {one['host_to_host_ms']:.3f} | {one['compute_ms']:.3f} "
            f"| {eight['host_to_host_ms']:.3f} | {eight['compute_ms']:.3f} "
            f"| {found['memory_mib']:.0f} | {found['threads']} "
            f"| {'; '.join(found['failed']) or 'passed'} |"
        )
    for folder, times in torch_times.items():
        fp16 = next(
            (
                found["latency"]["1"]["host_to_host_ms"]
                for found in results
                if found["name"].startswith(folder) and found["precision"] == "fp16"
            ),
            None,
        )
        ratios = ", ".join(
            f"{name.removesuffix('_ms')} {value:.3f} ms"
            + (f" ({value / fp16:.1f} times the engine)" if fp16 else "")
            for name, value in times.items()
        )
        lines += ["", f"{folder} in torch, FP16 (autocast), batch 1, host to host: {ratios}."]
    return "\n".join(lines) + "\n"


def _assemble(folder: Path) -> None:
    """Lay the package out as a wheel does, for an interpreter in which it is not installed."""
    package = folder / "edgead"
    package.mkdir(parents=True)
    home = Path(edgead.__file__).parent
    for entry in home.iterdir():
        (package / entry.name).symlink_to(entry)
    for name in ("export", "runtimes", "calibration", "benchmarks"):
        if not (package / name).exists():
            (package / name).symlink_to(home.parent / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m edgead.benchmarks.tensorrt")
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("exports", metavar="EXPORTS[=RUN]", nargs="+")
    parser.add_argument("--photos", metavar="DIR", required=True, help="real photos of the part")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has tensorrt")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        photos = photo_files.find_and_report([args.photos])[:_MOST]
        results: list[dict[str, Any]] = []
        torch_times: dict[str, dict[str, float]] = {}
        for entry in args.exports:
            folder, _, run = entry.partition("=")
            found = sources(Path(folder))
            if not found:
                raise EdgeadError(f"{folder} has no file that engines are made of")
            results += [measure(artifact, photos, args.out, args.python) for artifact in found]
            if run:
                torch_times[Path(folder).name] = torch_latency(Path(run))
    except EdgeadError as error:
        notices.error(error)
        return error.exit_code
    text = table(results, torch_times)
    print(text)
    files.write_text(args.out / "tensorrt.md", text)
    files.write_json(args.out / "tensorrt.json", {"engines": results, "torch": torch_times})
    return 1 if any(found["failed"] for found in results) else 0


if __name__ == "__main__":
    sys.exit(main())
