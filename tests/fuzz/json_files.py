"""The JSON files that commands read: settings, measurements, reports, runs, engines' sidecars."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import cpu
from edgead.artifact import EngineSpec, ParitySpec, read_artifact, write_artifact, write_engine
from edgead.benchmarks.stored import read_results, require_repeatable
from edgead.cli import main
from edgead.compare import accuracy
from edgead.compare.elsewhere import read_bench
from edgead.datasets import Dataset
from edgead.errors import EdgeadError
from edgead.export import report
from edgead.settings import Settings
from edgead.training import Run, TrainConfig
from edgead.training._sealed_json import sealed
from edgead.training.run import RunRecord
from tests.conftest import manifest_for, tiny_model, write_dataset
from tests.fuzz.campaign import WrongError
from tests.fuzz.mutation import Rng, mutate_bytes, mutate_json, pick

MOST_MIB = 600
_SEALED = "sha256"
_RUN = "0" * 32
_PLAN = b"an engine's plan " * 20


@dataclass(frozen=True)
class Corpus:
    folder: Path
    scratch: Path
    digest: str


def build(folder: Path) -> None:
    manifest = manifest_for(32, 32, (8, 8))
    artifact = write_artifact(folder / "tiny.onnx", tiny_model(), manifest)
    Settings("onnxruntime", 1, artifact.sha256, cpu.model_name(), 1.5).write(artifact.path)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        words = ["bench", str(artifact.path), "--json", str(folder / "bench.json")]
        code = main([*words, "--duration", "0.2", "--samples", "30", "--threads", "1"])
    if not (folder / "bench.json").is_file():
        raise RuntimeError(f"bench ended with {code}: {out.getvalue()} {err.getvalue()}")
    report.write(folder, [_variant()], "edgead predict tiny.onnx IMAGES")
    spec = EngineSpec(
        tensorrt="10.3.0.30",
        gpu="Orin",
        compute_capability="8.7",
        multiprocessors=8,
        platform="linux-aarch64",
        precision="fp16",
        batch=(1, 1, 8),
        shares_profile=True,
        options={"workspace_mib": None},
        onnx="tiny.onnx",
        onnx_sha256=artifact.sha256,
        sha256="",
        build_seconds=1.0,
    )
    write_engine(folder / "tiny.engine", _PLAN, manifest.replace(engine=spec, precision="fp16"))
    data = write_dataset(folder / "parts", train=4, good=3, defects=3)
    config = TrainConfig(
        "efficientad-n",
        str(data),
        image_size=(96, 96),
        steps=5,
        batch_size=2,
        learning_rate=1e-3,
        precision="32-true",
    )
    run = Run(folder / "run")
    run.path.mkdir()
    held_out = (data / "train/good/000.png",)
    run.write_record(RunRecord(config, "0" * 64, held_out, None, "0.1.0", run=_RUN))
    content = sealed({**json.loads(manifest.to_json()), "run": _RUN})
    (run.path / "manifest.json").write_text(json.dumps(content))
    run.read_manifest()
    lines = [{"step": 10, "loss": 0.5, "seconds": 1.0}, {"finished": True, "seconds": 2.5}]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _variant() -> report.Variant:
    return report.Variant(
        name="tiny",
        file="tiny.onnx",
        precision="fp32",
        gmac=0.001,
        parameters=100,
        size_bytes=2000,
        latency_ms=1.0,
        speed_up=1.0,
        runtime="onnxruntime",
        score_diff_in_runtimes={"openvino": 1e-6},
        parity=ParitySpec("torch", 10, 1e-6, 1e-6, 1e-6, 0, 1e-7, 1.0),
        image_auroc=None,
        image_auroc_drop=None,
        au_pro=None,
        au_pro_drop=None,
        accepted=True,
        reason="same scores",
    )


def load(folder: Path, scratch: Path) -> Corpus:
    labelled = Dataset.from_folder(folder / "parts")
    return Corpus(folder, scratch, accuracy.data_digest(labelled))


def case(rng: Rng, corpus: Corpus) -> None:
    pick(rng, _KINDS)(rng, corpus)


def _mutated(rng: Rng, data: bytes) -> bytes:
    if rng.random() < 0.2:
        return mutate_bytes(rng, data)
    return mutate_json(rng, json.loads(data))


def _mutated_and_sealed(rng: Rng, data: bytes) -> bytes:
    """Mutate a file of a run, and give it the checksum that belongs to it as often as not."""
    content = json.loads(data)
    if rng.random() < 0.5 or "seal" not in content:
        return _mutated(rng, data)
    del content["seal"]
    mutated = mutate_json(rng, content)
    try:
        again = json.loads(mutated)
    except (ValueError, RecursionError):
        return mutated
    return json.dumps(sealed(again)).encode() if isinstance(again, dict) else mutated


def _settings(rng: Rng, corpus: Corpus) -> None:
    path = corpus.scratch / "tiny.onnx"
    shutil.copy(corpus.folder / "tiny.onnx", path)
    data = (corpus.folder / "tiny.settings.json").read_bytes()
    Settings.path_for(path).write_bytes(_mutated(rng, data))
    found = Settings.read(path, read_artifact(path).sha256)
    if not isinstance(found.runtime, str) or not isinstance(found.latency_ms, float):
        raise WrongError(f"settings of other types: {found}")


def _bench(rng: Rng, corpus: Corpus) -> None:
    """Compare a measurement of another device with one of here, in text and on a page."""
    good = corpus.folder / "bench.json"
    path = corpus.scratch / "bench.json"
    path.write_bytes(_mutated(rng, good.read_bytes()))
    with contextlib.suppress(EdgeadError):
        read_bench(path)
    page = corpus.scratch / "page.html"
    refused = _command(["bench", "--compare", str(good), str(path), "--html", str(page)])
    if page.exists() and "<script>alert" in page.read_text():
        raise WrongError("foreign text came onto the page unescaped")
    read_results(path)
    if refused:
        raise EdgeadError(refused)


def _rerun(rng: Rng, corpus: Corpus) -> None:
    """Repeat a measurement that asks for something else than it did."""
    content = json.loads((corpus.folder / "bench.json").read_bytes())
    result = content["results"][0] if "results" in content else content
    result["config"] = json.loads(_config(rng, result["config"]))
    path = corpus.scratch / "bench.json"
    path.write_text(json.dumps(content))
    before = read_results(path)[0]
    require_repeatable(before, path)
    config = before["config"]
    longest = {"duration_s": 0.3, "cooldown_s": 0.3, "samples": 200, "batch": 8, "streams": 8}
    is_long = any(config[key] > most for key, most in longest.items())
    if is_long or math.prod(config["frame_size"]) > 4e6 or (config["threads"] or 0) > 8:
        return  # a measurement that may be asked for, and takes longer than a case may
    refused = _command(["bench", "--rerun", str(path)])
    if refused:
        raise EdgeadError(refused)


def _config(rng: Rng, config: dict[str, Any]) -> str:
    while True:
        text = mutate_json(rng, config)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return json.dumps(found)


def _kept_figures(rng: Rng, corpus: Corpus) -> None:
    """Compare photos' figures that an earlier comparison kept."""
    artifact = read_artifact(corpus.folder / "tiny.onnx")
    labelled = Dataset.from_folder(corpus.folder / "parts")
    keep = corpus.scratch / "keep"
    asked = (artifact, "onnxruntime", labelled, corpus.digest, 1, keep)
    fresh = accuracy.measure(*asked)
    (path,) = keep.iterdir()
    path.write_bytes(_mutated(rng, path.read_bytes()))
    found = accuracy.measure(*asked)
    if found.figures.keys() < fresh.figures.keys():
        raise WrongError(f"figures were taken that lack {fresh.figures.keys() - found.figures}")
    if not all(math.isfinite(score) for score in found.scores.values()):
        raise WrongError("figures with scores that are no numbers")


def _engine(rng: Rng, corpus: Corpus) -> None:
    """Read a sidecar that was damaged, or sealed after it was changed."""
    engine = corpus.scratch / "tiny.engine"
    beside = corpus.scratch / "tiny.engine.json"
    plan = (corpus.folder / "tiny.engine").read_bytes()
    text = (corpus.folder / "tiny.engine.json").read_bytes()
    content = json.loads(text)
    is_sealed_again = rng.random() < 0.5
    if is_sealed_again:
        content.pop(_SEALED)
        mutated = mutate_json(rng, content)
        with contextlib.suppress(ValueError, RecursionError):
            again = json.loads(mutated)
            if isinstance(again, dict):
                seal = hashlib.sha256(json.dumps(again, sort_keys=True).encode()).hexdigest()
                mutated = mutated.rstrip()[:-1] + f', "{_SEALED}": "{seal}"}}'.encode()
        text = mutated
    elif rng.random() < 0.3:
        plan = mutate_bytes(rng, plan)
    else:
        text = _mutated(rng, text)
    engine.write_bytes(plan)
    beside.write_bytes(text)
    found = read_artifact(engine)
    if Path(found.manifest.name).name != found.manifest.name:
        raise WrongError(f"a name that is no file name: {found.manifest.name[:80]!r}")
    if not is_sealed_again and (plan != _PLAN or _plain(text) != content):
        raise WrongError("an engine was accepted that was changed after it was sealed")


def _plain(text: bytes) -> Any:
    return json.loads(text)


def _report(rng: Rng, corpus: Corpus) -> None:
    """Read the report of an export, and the files that it names, as a comparison does."""
    folder = corpus.scratch / "exports"
    folder.mkdir()
    shutil.copy(corpus.folder / "tiny.onnx", folder)
    data = (corpus.folder / "report.json").read_bytes()
    (folder / "report.json").write_bytes(_mutated(rng, data))
    for variant in report.read(folder):
        if variant.accepted:
            path = read_artifact(folder / str(variant.file)).path
            if path.resolve().parent != folder.resolve():
                raise WrongError(f"the report led to {path}")


def _run_json(rng: Rng, corpus: Corpus) -> None:
    run = _run(corpus)
    path = run.path / "run.json"
    path.write_bytes(_mutated_and_sealed(rng, path.read_bytes()))
    record = run.read_record()
    if not all(isinstance(value, int) for value in record.config.image_size):
        raise WrongError(f"an image size of {record.config.image_size}")
    json.dumps(record.config.to_json())


def _run_manifest(rng: Rng, corpus: Corpus) -> None:
    run = _run(corpus)
    path = run.path / "manifest.json"
    path.write_bytes(_mutated_and_sealed(rng, path.read_bytes()))
    manifest = run.read_manifest()
    if Path(manifest.name).name != manifest.name:
        raise WrongError(f"a name that is no file name: {manifest.name[:80]!r}")


def _metrics(rng: Rng, corpus: Corpus) -> None:
    run = _run(corpus)
    lines = run.metrics_file.read_bytes().splitlines()
    at = int(rng.integers(len(lines)))
    lines[at] = _mutated(rng, lines[at])
    run.metrics_file.write_bytes(b"\n".join(lines) + b"\n")
    seconds = run.training_seconds()
    if seconds is not None and not math.isfinite(seconds):
        raise WrongError(f"a training of {seconds} seconds")


def _run(corpus: Corpus) -> Run:
    shutil.copytree(corpus.folder / "run", corpus.scratch / "run")
    return Run(corpus.scratch / "run")


def _command(words: list[str]) -> str:
    """Run a command here; return what it refused with, or nothing."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    text = out.getvalue() + err.getvalue()
    if not text.replace("\n", "").replace("\r", "").isprintable():
        raise WrongError(f"{words[:2]} printed what commands a terminal: {text[:2000]!r}")
    if any(line.startswith("ANOMALOUS") for line in text.splitlines()):
        raise WrongError("a line of output was forged")
    return err.getvalue() or "refused" if code in (1, 2) else ""


_KINDS: tuple[Callable[[Rng, Corpus], None], ...] = (
    _settings,
    _bench,
    _rerun,
    _kept_figures,
    _engine,
    _report,
    _run_json,
    _run_manifest,
    _metrics,
)
