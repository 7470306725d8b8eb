"""Exported files: damaged after they were sealed, and sealed with a hostile manifest or graph."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead import EdgeDetector
from edgead.artifact import (
    Artifact,
    CompressionSpec,
    ParitySpec,
    PhotoSizes,
    QuantizationSpec,
    _onnx_file,
    read_artifact,
    write_artifact,
)
from edgead.cli import main
from edgead.errors import EdgeadError
from tests.conftest import manifest_for, part, tiny_model
from tests.fuzz.campaign import WrongError
from tests.fuzz.mutation import Rng, mutate_bytes, mutate_json, mutate_protobuf, pick

MOST_MIB = 600
_SIZES = ((32, 32), (48, 64))


@dataclass(frozen=True)
class Seed:
    """A good artifact: the graph alone, its manifest, the whole file, the score of the frame."""

    model: bytes
    manifest: dict[str, Any]
    sealed: bytes
    score: float


@dataclass(frozen=True)
class Corpus:
    seeds: list[Seed]
    frame: np.ndarray
    scratch: Path


def build(folder: Path) -> None:
    for index, size in enumerate(_SIZES):
        cells = (size[0] // 4, size[1] // 4)
        manifest = manifest_for(*size, cells)
        if index:
            manifest = _with_everything(manifest)
        model = tiny_model(size)
        (folder / f"{index}.model").write_bytes(model)
        (folder / f"{index}.json").write_text(manifest.to_json())
        write_artifact(folder / f"{index}.onnx", model, manifest)


def _with_everything(manifest: Any) -> Any:
    """Fill in every section that an artifact may have."""
    training = dataclasses.replace(
        manifest.training,
        photo_sizes=PhotoSizes.of([(70, 90), (72, 96)]),
        least_contrast=tuple(0.5 for _ in range(_contrast_cells())),
    )
    return manifest.replace(
        training=training,
        threshold=dataclasses.replace(manifest.threshold, false_positive_interval=(0.0, 0.3)),
        parity=ParitySpec("torch", 10, 1e-6, 1e-6, 1e-6, 0, 1e-7, 1.0),
        quantization=QuantizationSpec(
            "static", "per-channel", "minmax", 10, "0" * 64, runtimes=("onnxruntime",)
        ),
        compression=CompressionSpec(2.0, 200, 0.1, {"a": 3}, {"b": 4}, {}, 10, "0" * 64),
        gate={"images": 10, "kept": True, "why": "within 0.5 points"},
        model=manifest.model.replace(options={"centring": 0.5, "recipe": "short"}),
    )


def _contrast_cells() -> int:
    from edgead.contrast import GRID

    return int(GRID) ** 2


def load(folder: Path, scratch: Path) -> Corpus:
    frame = part(3, defect=True)
    seeds = []
    for index in range(len(_SIZES)):
        path = folder / f"{index}.onnx"
        model = (folder / f"{index}.model").read_bytes()
        sealed = path.read_bytes()
        manifest = json.loads((folder / f"{index}.json").read_text())
        again = seal(model, json.dumps(manifest).encode())
        if again != sealed:
            raise RuntimeError("the harness seals otherwise than edgead does")
        with EdgeDetector(path, "onnxruntime", threads=1) as detect:
            seeds.append(Seed(model, manifest, sealed, detect(frame).score))
    return Corpus(seeds, frame, scratch)


def seal(model: bytes, manifest: bytes) -> bytes:
    """Give a model a manifest, valid or not, and the seal that belongs to both."""
    data = model + _entry(b"edgead.manifest", manifest) + _entry(b"edgead.sha256", b"0" * 64)
    position = data.rindex(b"0" * 64)
    return data[:position] + hashlib.sha256(data).hexdigest().encode() + data[position + 64 :]


def _entry(key: bytes, value: bytes) -> bytes:
    return _onnx_file.tagged(14, _onnx_file.tagged(1, key) + _onnx_file.tagged(2, value))


def case(rng: Rng, corpus: Corpus) -> None:
    seed, other = pick(rng, corpus.seeds), pick(rng, corpus.seeds)
    path = corpus.scratch / pick(rng, ("a.onnx", "a.onnx", "a.ONNX"))
    kind = rng.random()
    if kind < 0.5:
        mutate = mutate_bytes if kind < 0.25 else mutate_protobuf
        path.write_bytes(mutate(rng, seed.sealed, other.sealed))
        read_artifact(path)
        raise WrongError("a file was accepted that was changed after it was sealed")
    if kind < 0.9:
        path.write_bytes(seal(seed.model, mutate_json(rng, seed.manifest)))
        _use(path, corpus, rng, seed.score)
    else:
        model = _hostile_graph(rng, corpus.scratch)
        path.write_bytes(seal(model, json.dumps(corpus.seeds[0].manifest).encode()))
        _use(path, corpus, rng, None)


def _use(path: Path, corpus: Corpus, rng: Rng, truth: float | None) -> None:
    """Do with an artifact what a device does, and hold what comes out against the truth."""
    artifact = read_artifact(path)
    _check_manifest(artifact)
    _check_info(path)
    runtime = "openvino" if rng.random() < 0.05 else "onnxruntime"
    with EdgeDetector(path, runtime, threads=1) as detect:
        try:
            detection = detect(corpus.frame)
        except EdgeadError as error:
            if truth is None:
                raise WrongError("a hostile graph was opened, and refused only later") from error
            raise
        if not np.isfinite(detection.score) or detection.score != detection.anomaly_map.max():
            raise WrongError(f"score {detection.score}, map {detection.anomaly_map.max()}")
        if truth is not None and abs(detection.score - truth) > 1e-5:
            raise WrongError(f"score {detection.score}, and {truth} is right")
        if detection.is_anomalous != (
            bool(detection.blank) or detection.score > artifact.manifest.threshold.value
        ):
            raise WrongError("the verdict does not follow from score and threshold")
        if detection.overlay(corpus.frame).shape != corpus.frame.shape:
            raise WrongError("an overlay of another size")
        json.dumps([region.to_json() for region in detection.regions], allow_nan=False)


def _check_manifest(artifact: Artifact) -> None:
    name = artifact.manifest.name
    if Path(name).name != name or name in (".", "..") or not name.isprintable():
        raise WrongError(f"the manifest's name is no file name: {name[:80]!r}")
    json.loads(artifact.manifest.to_json())


def _check_info(path: Path) -> None:
    """Print what the file says about itself; foreign text must not command the terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["info", str(path)])
    text = out.getvalue() + err.getvalue()
    if code not in (0, 1) or not text.replace("\n", "").isprintable():
        raise WrongError(f"info ended with {code} and {text[:2000]!r}")
    if any(line.startswith("ANOMALOUS") for line in text.splitlines()):
        raise WrongError("a line of output was forged")


def _hostile_graph(rng: Rng, scratch: Path) -> bytes:
    """Change what the graph promises: its input, its outputs, or where its weights lie."""
    what = pick(rng, ("output", "output", "output", "input", "external", "weights", "domain"))
    model = onnx.load_from_string(tiny_model())
    graph = model.graph
    if what == "output":
        _replace_output(rng, graph)
    elif what == "input":
        shape = pick(rng, ([1, 3, 32, 32], [1, 32, 32, 4], [1, 16, 32, 3], [32, 32, 3], None))
        dtype = pick(rng, (TensorProto.UINT8, TensorProto.FLOAT))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("image", dtype, shape))
        if rng.random() < 0.3:
            graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    elif what == "external":
        weights = pick(rng, list(graph.initializer))
        (scratch / "w.bin").write_bytes(weights.raw_data)
        weights.data_location = TensorProto.EXTERNAL
        where = pick(rng, ("w.bin", "../w.bin", "/etc/passwd", "/dev/zero", "missing.bin"))
        for key, value in (("location", where), ("offset", "0"), ("length", "4")):
            entry = weights.external_data.add()
            entry.key, entry.value = key, value
        weights.ClearField("raw_data")
    elif what == "weights":
        value = pick(rng, (np.nan, np.inf, -np.inf, 3e38))
        old = numpy_helper.to_array(graph.initializer[0])
        graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.full(old.shape, value, np.float32), "w")
        )
    else:
        graph.node.append(helper.make_node("Evil", ["x"], ["y"], domain="evil.example"))
    return bytes(model.SerializeToString())


def _replace_output(rng: Rng, graph: Any) -> None:
    name = pick(rng, ("score", "anomaly_map"))
    values = pick(
        rng,
        (
            np.float32(1.0),
            np.array([], np.float32),
            np.array([1, 2], np.float32),
            np.array([[1]], np.float32),
            np.array([np.nan], np.float32),
            np.array([np.inf], np.float32),
            np.array([5], np.float32),
            np.array([1], np.int64),
            np.array([1], np.float64),
            np.zeros((1, 8, 9), np.float32),
            np.zeros((1, 8, 8, 1), np.float32),
            np.zeros((8, 8), np.float32),
            np.full((1, 8, 8), np.nan, np.float32),
        ),
    )
    nodes = [node for node in graph.node if name not in node.output]
    del graph.node[:]
    if name == "anomaly_map":  # the score is still that of the cells
        for node in nodes:
            node.input[:] = ["cells" if entry == name else entry for entry in node.input]
            if "score" in node.output:
                del node.attribute[:]
                node.attribute.append(helper.make_attribute("axes", [1, 2, 3]))
                node.attribute.append(helper.make_attribute("keepdims", 0))
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), "given"))
    graph.node.extend([*nodes, helper.make_node("Identity", ["given"], [name])])
    place = 1 if name == "score" else 0
    dtype = helper.np_dtype_to_tensor_dtype(np.asarray(values).dtype)
    shape = list(np.asarray(values).shape) if rng.random() < 0.5 else None
    graph.output[place].CopyFrom(helper.make_tensor_value_info(name, dtype, shape))
