"""From an ONNX file to scores, through builder, sidecar and runtime, on every TensorRT."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector, files
from edgead.artifact import Artifact, read_artifact
from edgead.calibration.photos import CalibrationPhotos
from edgead.cli import main
from edgead.datasets import Dataset
from edgead.errors import (
    ArtifactError,
    EdgeadError,
    GateRefused,
    RuntimeUnavailableError,
    UsageError,
)
from edgead.evaluation import Evaluation
from edgead.export import gate, judge
from edgead.export.tensorrt import EngineOptions, export_engine
from edgead.export.tensorrt.onnx_nodes import nodes, tail
from edgead.runtimes.tensorrt import TensorRT, libcuda
from edgead.view import View
from tests.conftest import part, write_photo
from tests.tensorrt import bindings, fake_tensorrt
from tests.tensorrt.conftest import NEEDS_COMPILER, NOTHING, Gpu

pytestmark = NEEDS_COMPILER

Install = Callable[..., types.ModuleType]
Make = Callable[[str], Artifact]
VERSIONS = list(bindings.presence())


def built(make: Make, precision: str, out: Path, **options: object) -> Path:
    artifact = make(precision)
    export_engine(artifact.path, out, EngineOptions(precision, **options))  # type: ignore[arg-type]
    name = "tiny" if precision == "fp32" else f"tiny-{precision}"
    return out / f"{name}.engine"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_gives_the_scores_of_its_source_on_every_version(
    version: str, precision: str, install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install(version)
    path = built(onnx_artifact, precision, tmp_path / "out")
    photos = [part(seed, (60 + seed, 80), defect=bool(seed % 2)) for seed in range(5)]
    source = tmp_path / read_artifact(path).manifest.engine.onnx
    with EdgeDetector(source, "onnxruntime") as right, EdgeDetector(path) as detect:
        assert detect.runtime.name == "tensorrt"
        assert detect.runtime.version == version
        expected = [right(photo) for photo in photos]
        for _ in range(3):  # plain, plain, and from a recorded graph
            found = detect([*photos])
            assert [d.score for d in found] == [d.score for d in expected]
            np.testing.assert_array_equal(found[1].anomaly_map, expected[1].anomaly_map)
        timings = found[0].timings
        assert timings.host_to_device_ms is not None
        assert timings.inference_ms > 0
        assert detect.runtime.details["cuda_graph"] == "in use"
        assert detect(photos[3]).score == expected[3].score  # another batch, so no graph
        assert detect.runtime.details["cuda_graph"] != "in use"
        assert detect.passed_over == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_report_lists_the_layers(
    version: str, install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install(version)
    made = export_engine(onnx_artifact("fp16").path, tmp_path / "out", EngineOptions("fp16"))
    assert "Conv" in {layer["kind"] for layer in made.details["layers"]}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_during_a_build_ends_the_export(
    name: str, install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    trt, number = install(), getattr(signal, name)
    trt.during_build = lambda: os.kill(os.getpid(), number)
    source = onnx_artifact("fp16").path

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            export_engine(source, tmp_path / "out", EngineOptions("fp16"))
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert not (tmp_path / "out").exists()


def test_a_second_signal_does_not_wait_for_the_build() -> None:
    code = """
import os, signal
from edgead.export.tensorrt.signals import signals_after
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
with signals_after(lambda text: print(text, flush=True)):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print("not reached")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stdout.startswith("SIGTERM: this stops when TensorRT has finished the build")
    assert ended.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("version", "precision", "flags"),
    [
        ("8.5.2.2", "fp32", set()),
        ("8.5.2.2", "fp16", {"TF32", "FP16", "PREFER_PRECISION_CONSTRAINTS"}),
        ("8.6.0", "int8", {"TF32", "FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"}),
        ("10.3.0", "fp16", {"TF32"}),
        ("11.4.0.106", "int8", {"TF32"}),
    ],
)
def test_types_rule_where_they_can_and_flags_where_they_must(
    version: str,
    precision: str,
    flags: set[str],
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
) -> None:
    install(version)
    path = built(onnx_artifact, precision, tmp_path / "out")
    assert set(fake_tensorrt.header(path.read_bytes())["flags"]) == flags


def test_what_follows_the_last_convolution_stays_fp32(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install("8.5.2.2")
    built(onnx_artifact, "fp16", tmp_path / "out")
    made = export_engine(tmp_path / "tiny-fp16.onnx", tmp_path / "out", EngineOptions("fp16"))
    model = (tmp_path / "tiny-fp16.onnx").read_bytes()
    last = tail(model)
    assert {n.op_type for n in nodes(model) if n.outputs[0] in last} == {
        "Cast",
        "Squeeze",
        "ReduceMax",
    }
    writes = {layer["kind"]: layer["writes"] for layer in made.details["layers"]}
    assert writes["Squeeze"] == writes["ReduceMax"] == ["Float"]
    assert writes["Conv"] == ["Half"]


@pytest.mark.usefixtures("all_cores")
def test_four_threads_share_one_engine(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    install("10.3.0")
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    photos = [part(seed, defect=bool(seed % 2)) for seed in range(4)]
    found: dict[int, list[float]] = {}
    with EdgeDetector(path) as detect:
        expected = [detect(photo).score for photo in photos]
        together = threading.Barrier(4)

        def work(worker: int) -> None:
            together.wait()
            found[worker] = [detect(photos[worker]).score for _ in range(20)]

        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert 1 <= detect.runtime.details["contexts"] <= 4
        assert detect(photos[0]).score == expected[0]
    assert found == {worker: [expected[worker]] * 20 for worker in range(4)}


@pytest.mark.usefixtures("all_cores")
def test_threads_take_turns_where_contexts_cannot_share_a_profile(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install("8.5.2.2")
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    runtime = TensorRT(read_artifact(path))
    image = np.full((1, 32, 32, 3), 90, np.uint8)
    scores: list[float] = []
    with runtime:
        workers = [
            threading.Thread(target=lambda: scores.append(float(runtime.infer(image).score[0])))
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert runtime.describe().details["contexts"] == 1
        assert runtime.describe().details["threads_take_turns"]
    assert len(scores) == 4
    assert len(set(scores)) == 1


@pytest.mark.usefixtures("all_cores")
def test_closing_waits_for_what_other_threads_have_begun(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    scores: list[float] = []
    said: list[str] = []
    detect = EdgeDetector(path)
    begun = threading.Event()

    def work() -> None:
        try:
            while True:
                scores.append(detect(part(1)).score)
                begun.set()
        except EdgeadError as error:
            said.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert begun.wait(60)
    detect.close()
    for worker in workers:
        worker.join()
    assert len(set(scores)) == 1
    assert all("not open" in text or "closed by another thread" in text for text in said)


def test_a_graph_that_cannot_be_recorded_is_done_without(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    install()
    gpu.set(can_record=0)
    path = built(onnx_artifact, "fp32", tmp_path / "out")
    with EdgeDetector(path) as detect:
        scores = {detect(part(1, defect=True)).score for _ in range(5)}
        assert "CAPTURE_UNSUPPORTED" in detect.runtime.details["cuda_graph"]
    assert len(scores) == 1


def test_a_failed_inference_leaves_the_runtime_usable(
    install: Install, onnx_artifact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = install()
    path = built(onnx_artifact, "fp32", tmp_path / "out")
    real = trt.IExecutionContext.execute_async_v3

    def fails(self: object, stream_handle: int) -> bool:
        self._engine._log("an illegal memory access was encountered")  # type: ignore[attr-defined]
        return False

    with EdgeDetector(path) as detect:
        score = detect(part(0)).score
        monkeypatch.setattr(trt.IExecutionContext, "execute_async_v3", fails)
        with pytest.raises(EdgeadError, match="inference failed: an illegal memory access"):
            detect(part(0))
        monkeypatch.setattr(trt.IExecutionContext, "execute_async_v3", real)
        assert detect(part(0)).score == score


def test_a_batch_above_the_profile(install: Install, onnx_artifact: Make, tmp_path: Path) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out", batch=(1, 1, 3))
    with EdgeDetector(path) as detect:
        assert len(detect([part(0)] * 3)) == 3
        with pytest.raises(
            EdgeadError, match=r"batches of 1 to 3 photos, not 5.*tiny-fp16.onnx.* --batch 5"
        ):
            detect([part(0)] * 5)
        assert detect(part(0)).score < 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"minor": 9}, "compute capability 8.7 .here 8.9."),
        ({"multiprocessors": 8}, "multiprocessors 16 .here 8."),
    ],
)
def test_an_engine_of_another_gpu(
    change: dict[str, int],
    said: str,
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
    gpu: Gpu,
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    gpu.set(**change)
    with pytest.raises(
        ArtifactError, match=f"{said}.*edgead export tiny-fp16.onnx --out . --tensorrt fp16"
    ):
        EdgeDetector(path, "tensorrt")


def test_an_engine_of_another_version_and_name(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    install("8.6.0")
    path = built(onnx_artifact, "fp16", tmp_path / "out", dla_core=None, workspace_mib=64)
    install("10.3.0")
    gpu.rename("Xavier")
    with pytest.raises(
        ArtifactError,
        match=r"TensorRT 8.6.0 \(here 10.3.0\), GPU Orin \(here Xavier\).*--workspace 64",
    ):
        EdgeDetector(path, "tensorrt")
    with pytest.raises(RuntimeUnavailableError, match=r"8.6.0.*onnxruntime: it opens .onnx files"):
        EdgeDetector(path)


def test_damaged_engines_and_sidecars(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    beside = path.with_name("tiny-fp16.engine.json")
    plan, text = path.read_bytes(), beside.read_text()
    again = "edgead export tiny-fp16.onnx --out . --tensorrt fp16"

    changed = bytearray(plan)
    changed[-5] ^= 1
    for content in (plan[:-100], bytes(changed), b""):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=f"truncated, changed.*{again}"):
            EdgeDetector(path)
    path.write_bytes(plan)

    for edit, said in (
        (text.replace('"value": 0.5', '"value": 0.9'), f"changed by hand.*{again}"),
        (text.replace('"gpu"', '"card"'), "lacks the key 'engine.gpu'"),
        (text[:200], "not valid JSON"),
        ("[]", "not a JSON object"),
    ):
        assert edit != text
        beside.write_text(edit)
        with pytest.raises(ArtifactError, match=said):
            EdgeDetector(path)
    beside.unlink()
    with pytest.raises(ArtifactError, match=r"needs its sidecar tiny-fp16.engine.json .*copy both"):
        EdgeDetector(path)


def test_no_driver_no_gpu_no_tensorrt(
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    gpu.set(devices=0)
    with pytest.raises(RuntimeUnavailableError, match=r"CUDA_ERROR_NO_DEVICE"):
        EdgeDetector(path, "tensorrt")
    gpu.set(devices=1)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(RuntimeUnavailableError, match=r"not installed.*python3-libnvinfer"):
            EdgeDetector(path, "tensorrt")
    monkeypatch.setattr(libcuda, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(RuntimeUnavailableError, match="there is no NVIDIA driver"):
        EdgeDetector(path, "tensorrt")


def test_memory_runs_out_while_building_and_while_opening(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    trt = install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    trt.build_needs = 8 << 30
    with pytest.raises(EdgeadError, match=r"memory of Orin is full .*smaller --workspace"):
        built(onnx_artifact, "fp32", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    for total in (1 << 19, (1 << 20) + 100):  # no room for the context, or for the buffers
        gpu.set(total=total)
        with pytest.raises(EdgeadError, match=r"memory of Orin .*close\s+other programs"):
            EdgeDetector(path, "tensorrt")
        assert gpu.alive() == NOTHING


def test_one_thread_too_many_for_the_memory(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    image = np.full((1, 32, 32, 3), 90, np.uint8)
    with TensorRT(read_artifact(path)) as runtime:
        gpu.set(total=3 << 19)
        with runtime.session() as first:  # type: ignore[attr-defined]
            with pytest.raises(EdgeadError, match="beside the 1 that are open.*fewer threads"):
                runtime.infer(image)
            assert first.run(image)[1].shape == (1,)
        assert runtime.infer(image).score.shape == (1,)


def test_a_file_that_tensorrt_cannot_read(
    install: Install, onnx_artifact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = install()

    def refuses(self: object, model: bytes) -> bool:
        return self._fail("In node 3 with name: head and operator: Foo\n  no importer")  # type: ignore[attr-defined]

    monkeypatch.setattr(trt.OnnxParser, "parse", refuses)
    with pytest.raises(EdgeadError, match="10.3.0 cannot read the ONNX file: In node 3"):
        built(onnx_artifact, "fp16", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_that_are_off_are_refused_and_the_old_engine_stays(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    trt = install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    before = path.read_bytes(), path.with_name(path.name + ".json").read_bytes()
    trt.drift = np.float32(1.05)
    with pytest.raises(GateRefused, match=r"scores differ .*allowed: 1e-02"):
        built(onnx_artifact, "fp16", tmp_path / "out")
    trt.drift = np.float32(np.nan)
    with pytest.raises(EdgeadError, match="not finite"):
        built(onnx_artifact, "fp16", tmp_path / "out")
    assert (path.read_bytes(), path.with_name(path.name + ".json").read_bytes()) == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "report.json",
        "report.md",
        "tiny-fp16.engine",
        "tiny-fp16.engine.json",
    ]


@pytest.mark.parametrize("kind", ["entropy", "minmax"])
def test_tensorrts_own_calibrators_get_the_photos_once(
    kind: str, install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install("10.16.1.11")
    source = onnx_artifact("fp32").path
    paths = [write_photo(tmp_path / f"good/{i}.png", part(i) // (i + 1)) for i in range(5)]
    photos = CalibrationPhotos.read(paths, View((32, 32)))
    options = EngineOptions("int8", calibrator=kind)
    export_engine(source, tmp_path / "out", options, photos)
    (kept,) = (tmp_path / "cache").glob("tensorrt-calibration-*")
    expected = [float(photo.reshape(-1)[:64].mean()) for photo in photos.good]
    assert json.loads(kept.read_text()) == pytest.approx(expected)
    manifest = read_artifact(tmp_path / "out/tiny-int8.engine").manifest
    assert manifest.threshold.images == 5  # fitted to the engine's own scores
    kept.write_text("[0.0]")
    export_engine(source, tmp_path / "out", options, photos)
    assert kept.read_text() == "[0.0]"  # nothing was measured again


def test_of_a_data_set_only_good_photos_calibrate_and_judge_an_engine(
    install: Install, onnx_artifact: Make, dataset: Path, tmp_path: Path
) -> None:
    install("10.16.1.11")
    words = ["export", onnx_artifact("fp32").path, "--out", tmp_path / "out", "--tensorrt", "int8"]
    words += ["--tensorrt-calibrator", "entropy", "--calibration", dataset]
    assert main([str(word) for word in words]) == 0
    (kept,) = (tmp_path / "cache").glob("tensorrt-calibration-*")
    view = View.of(onnx_artifact("fp32").manifest)
    good = CalibrationPhotos.read(sorted((dataset / "train/good").iterdir()), view).good
    expected = [float(photo.reshape(-1)[:64].mean()) for photo in good]
    assert json.loads(kept.read_text()) == pytest.approx(expected)
    manifest = read_artifact(tmp_path / "out/tiny-int8.engine").manifest
    assert manifest.threshold.images == len(good) == 16


def test_photos_that_no_engine_may_be_judged_on(
    install: Install,
    onnx_artifact: Make,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install()
    out = tmp_path / "out"
    base = ("export", onnx_artifact("fp16").path, "--out", out, "--tensorrt", "--calibration")
    assert "holds test photos of the data set" in refused(capsys, 1, *base, dataset / "test")
    assert "holds masks of 'blot'" in refused(capsys, 1, *base, dataset / "ground_truth/blot")
    mixed = shutil.copytree(dataset / "train/good", tmp_path / "mixed")
    said = refused(capsys, 1, *base, mixed / "003.png")
    assert "003.png is not a folder" in said
    shutil.copy(dataset / "test/blot/001.png", mixed / "renamed.png")
    said = refused(capsys, 1, *base, mixed, "--validate", dataset)
    assert "renamed.png is the test photo" in said
    for index in range(9):
        write_photo(tmp_path / f"few/{index}.png", part(index % 3))
    assert "there are 3, of 9 photos" in refused(capsys, 1, *base, tmp_path / "few")
    (mixed / "renamed.png").write_bytes(b"no picture")
    assert "renamed.png" in refused(capsys, 1, *base, mixed)
    assert not out.exists()


def test_photos_of_another_camera_are_doubted_for_engines_too(
    install: Install, onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    for index in range(4):
        write_photo(
            tmp_path / f"red/{index}.png",
            np.full((40 + index, 50, 3), (0, 0, 250 - index), np.uint8),
        )
    words = ["export", onnx_artifact("fp16").path, "--out", tmp_path / "out", "--tensorrt"]
    words += ["--calibration", tmp_path / "red"]
    main([str(word) for word in words])
    assert "4 of 4 calibration photos are anomalous" in capsys.readouterr().err


def test_labelled_photos_can_refuse_an_engine_without_calibration_photos(
    install: Install,
    onnx_artifact: Make,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install()
    real = judge.evaluate_together

    def worse(detectors: Sequence[EdgeDetector], labelled: Dataset) -> list[Evaluation]:
        found = real(detectors, labelled)
        lost = [0.1 if detect.runtime.name == "tensorrt" else 0.0 for detect in detectors]
        return [
            dataclasses.replace(entry, image_auroc=(entry.image_auroc or 0.0) - less)
            for entry, less in zip(found, lost, strict=True)
        ]

    monkeypatch.setattr(judge, "evaluate_together", worse)
    source = onnx_artifact("fp16").path
    words = ("export", source, "--out", tmp_path / "out", "--tensorrt", "--validate", dataset)
    assert "image AUROC falls by 10.00 points" in refused(capsys, 3, *words)
    assert not (tmp_path / "out").exists()


def test_two_exports_into_one_folder(
    install: Install, onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    source, out = onnx_artifact("fp16").path, tmp_path / "out"
    with files.locked_folder(out):
        said = refused(capsys, 1, "export", source, "--out", out, "--tensorrt")
        assert f"{out} is in use: another edgead process writes into it" in said
        assert list(out.iterdir()) == []


def test_calibrators_are_asked_for_where_there_are_none(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    install("11.0.0.114")
    paths = [write_photo(tmp_path / f"good/{i}.png", part(i)) for i in range(5)]
    photos = CalibrationPhotos.read(paths, View((32, 32)))
    with pytest.raises(UsageError, match="11.0.0.114 no longer has calibrators"):
        export_engine(
            onnx_artifact("fp32").path,
            tmp_path / "out",
            EngineOptions("int8", calibrator="entropy"),
            photos,
        )


def test_timings_are_remembered_for_this_gpu_and_version(
    install: Install, onnx_artifact: Make, tmp_path: Path, gpu: Gpu
) -> None:
    install("8.6.0")
    source, options = onnx_artifact("fp16").path, EngineOptions("fp16")

    def cache() -> str:
        return str(export_engine(source, tmp_path / "out", options).details["timing_cache"])

    assert [cache(), cache()] == ["new", "reused"]
    (kept,) = (tmp_path / "cache").glob("tensorrt-timing-*")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert cache() == "new"  # damaged
    install("10.3.0")
    assert cache() == "new"
    gpu.set(minor=9)
    assert cache() == "new"


def test_dla_is_refused_where_there_is_none(
    install: Install, onnx_artifact: Make, tmp_path: Path
) -> None:
    trt = install()
    with pytest.raises(UsageError, match="--dla 0 cannot be used.*Orin has no DLA core"):
        built(onnx_artifact, "fp16", tmp_path / "out", dla_core=0)
    with pytest.raises(UsageError, match="FP16 and INT8 only"):
        EngineOptions("fp32", dla_core=0)
    trt.Builder.num_DLA_cores = 2
    path = built(onnx_artifact, "fp16", tmp_path / "out", dla_core=1)
    assert b"GPU_FALLBACK" in path.read_bytes()
    with pytest.raises(UsageError, match="has 2 DLA cores"):
        built(onnx_artifact, "fp16", tmp_path / "out", dla_core=2)


@pytest.mark.parametrize(
    ("capability", "precision", "said"),
    [((5, 3), "int8", "no INT8 units"), ((6, 2), "int8", "no INT8 units"),
     ((6, 1), "fp16", "slower than FP32"), ((8, 7), "int8", None), ((7, 2), "int8", None)],
)  # fmt: skip
def test_precisions_that_do_not_pay_are_named(
    capability: tuple[int, int],
    precision: str,
    said: str | None,
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
    gpu: Gpu,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install()
    gpu.set(major=capability[0], minor=capability[1])
    built(onnx_artifact, precision, tmp_path / "out")
    errors = capsys.readouterr().err
    assert "Orin: 4096 of 4096 MiB free; the build may use 1024 MiB" in errors
    assert said in errors if said else "warning" not in errors


def test_the_command_builds_from_the_copied_file(
    install: Install, onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    for seed in range(5):
        write_photo(tmp_path / f"good/{seed}.png", part(seed))
    for precision in ("fp16", "int8", "fp32"):
        source, out = onnx_artifact(precision).path, tmp_path / precision
        words = ["export", source, "--out", out, "--tensorrt", "--calibration", tmp_path / "good"]
        assert main([str(word) for word in words]) == 0
        said = capsys.readouterr().out
        assert f"next: edgead bench {out}" in said
        report = json.loads((out / "report.json").read_text())
        assert [v["runtime"].split()[0] for v in report["variants"]] == ["onnxruntime", "tensorrt"]
        assert report["variants"][1]["parity"]["images"] >= 80
        assert report["engine"]["build_seconds"] > 0
        assert {"name", "kind", "writes"} == set(report["engine"]["layers"][0])
        assert "| Conv |" in (out / "report.md").read_text().replace("net/conv", "Conv")
    engine = tmp_path / "fp16/tiny-fp16.engine"
    photo = write_photo(tmp_path / "photo.png", part(0))
    assert main(["info", str(engine)]) == 0
    assert "TensorRT 10.3.0, Orin (compute capability 8.7" in capsys.readouterr().out
    assert main(["predict", str(engine), str(photo)]) == 0
    assert main(["runtimes"]) == 0


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert main([str(word) for word in words]) == code
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("edgead: error: ")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


def test_without_a_gpu_the_command_names_the_next_step(
    onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = onnx_artifact("fp16").path
    said = refused(capsys, 1, "export", source, "--out", tmp_path / "out", "--tensorrt")
    assert f"Copy {source} to the Jetson and run there: edgead export tiny-fp16.onnx" in said
    assert "--out . --tensorrt fp16" in said
    assert not (tmp_path / "out").exists()


def test_sources_that_make_no_engine(
    install: Install, onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    out = ("--out", tmp_path / "out")
    artifact = onnx_artifact("int8")
    wrong = tmp_path / "tiny-int8.onnx"
    from edgead.artifact import write_artifact

    manifest = artifact.manifest.replace(precision="int8")
    write_artifact(wrong, artifact.path.read_bytes(), manifest)
    said = refused(capsys, 2, "export", wrong, *out, "--tensorrt")
    assert "which TensorRT refuses: use tiny-int8-tensorrt.onnx" in said
    said = refused(capsys, 2, "export", artifact.path, *out, "--tensorrt", "fp16")
    assert "has precision int8, not fp16" in said
    engine = built(onnx_artifact, "fp16", tmp_path / "out")
    for more in ([], ["--tensorrt"]):
        assert "tiny-fp16.onnx" in refused(capsys, 2, "export", engine, *out, *more)
    said = refused(capsys, 2, "export", artifact.path, *out, "--dla", "0")
    assert "add --tensorrt" in said
    (tmp_path / "file").write_text("")
    said = refused(capsys, 2, "export", artifact.path, "--out", tmp_path / "file", "--tensorrt")
    assert "is a file" in said


def test_pycuda_is_preferred_and_not_needed(
    install: Install, onnx_artifact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    path = built(onnx_artifact, "fp16", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pycuda", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "edgead.runtimes.tensorrt.pycuda", raising=False)
    monkeypatch.delenv("EDGEAD_CUDA")
    with EdgeDetector(path) as detect:
        assert detect.runtime.details["memory"] == "libcuda"
        assert "pycuda" in detect.runtime.details["not_pycuda_because"]
    monkeypatch.setenv("EDGEAD_CUDA", "pycuda")
    with pytest.raises(UsageError, match=r"EDGEAD_CUDA is pycuda, which does not work here"):
        EdgeDetector(path, "tensorrt")
    monkeypatch.setenv("EDGEAD_CUDA", "cupy")
    with pytest.raises(UsageError, match="choose one of: pycuda, libcuda"):
        EdgeDetector(path, "tensorrt")


def test_an_engine_of_another_precision_than_its_source(
    install: Install,
    exported: Path,
    shared_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The FP16 file is made first; without a GPU that is where it ends, with the next command."""
    words = ["export", exported, "--out", tmp_path / "out", "--tensorrt", "fp16", "--batch", "4"]
    words += ["--workspace", "64"]
    words += ["--calibration", shared_dataset / "train/good", "--max-drop", "100"]
    with monkeypatch.context() as patch:
        patch.setattr(libcuda, "LIBRARY", "libcuda-that-is-not-there.so.1")
        assert main([str(word) for word in words]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"Copy {tmp_path}/out/efficientad-n-fp16.onnx to the Jetson and run there: " in last
    command = "edgead export efficientad-n-fp16.onnx --out . --tensorrt fp16 --batch 4"
    assert last.endswith(f"{command} --workspace 64")
    install("8.6.0")
    monkeypatch.chdir(tmp_path / "out")
    assert main(last.rpartition("run there: ")[2].split()[1:]) == 0
    assert "checked on generated frames" in capsys.readouterr().out
    first = read_artifact("efficientad-n-fp16.engine").manifest
    assert first.engine is not None
    assert first.engine.batch == (1, 1, 4)
    assert first.parity is not None
    assert first.parity.reference == "efficientad-n-fp16 in onnxruntime, on generated frames"
    assert first.parity.max_score_diff == 0


@pytest.mark.slow
def test_from_a_run_to_an_engine_in_one_step(
    install: Install, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The order of scores of twelve steps of training hangs on their last digits.
    monkeypatch.setattr(gate, "RANK_CORRELATION", 0.0)
    install("10.16.1.11")
    out = tmp_path / "out"
    words = ["export", trained_run, "--out", out, "--tensorrt", "int8", "--max-drop", "100"]
    assert main([str(word) for word in words]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [variant["name"] for variant in report["variants"]] == [
        "efficientad-n",
        "efficientad-n-int8",
        "efficientad-n-int8-tensorrt",
        "efficientad-n-int8.engine",
    ]
    manifest = read_artifact(out / "efficientad-n-int8.engine").manifest
    source = read_artifact(out / "efficientad-n-int8-tensorrt.onnx").manifest
    assert manifest.threshold == source.threshold
    assert manifest.parity is not None
    assert manifest.parity.reference == "efficientad-n in onnxruntime"
    assert 0 < manifest.parity.max_score_diff_relative < 0.1
