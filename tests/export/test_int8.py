from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgead.artifact import read_artifact, write_artifact
from edgead.calibration.calibrators import Range
from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.probe import probe
from edgead.cli import main
from edgead.detector import EdgeDetector
from edgead.errors import DataError, GateRefused
from edgead.export import ExportOptions, export, fp16, gate, qdq, roles, static, tensorrt_rules
from edgead.export.equalise import equalisable, equalise
from edgead.export.refit import raw_maps, refit_head
from edgead.export.rounding import round_weights
from edgead.training import Run
from edgead.view import View
from tests.conftest import part, tiny_model, write_photo
from tests.graphs import operators


@pytest.fixture(scope="module")
def fp32(exported: Path) -> onnx.ModelProto:
    return onnx.load(exported)


@pytest.fixture(scope="module")
def photos(shared_dataset: Path) -> CalibrationPhotos:
    return CalibrationPhotos.read(
        sorted((shared_dataset / "train/good").iterdir()), View((96, 128))
    )


@pytest.fixture(scope="module")
def everything(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of file; a network of twelve steps is no measure of what a gate should refuse."""
    out = tmp_path_factory.mktemp("all")
    export(trained_run, out, ExportOptions(fp16=True, int8="static", max_drop=100))
    return out


def scores(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    (values,) = zip(*probe(model, ["score"], [photo[None] for photo in batch]), strict=True)
    return np.concatenate(values)


def test_all_but_head_and_autoencoder_run_as_integers(everything: Path, tmp_path: Path) -> None:
    model = onnx.load(everything / "efficientad-n-int8.onnx")
    ran = operators(model, tmp_path)
    autoencoder = [node for node in model.graph.node if roles.is_autoencoder(node)]
    assert ran.count("QLinearConv") == len(roles.integer_convolutions(model))
    assert sum(name in {"Conv", "FusedConv"} for name in ran) == len(autoencoder) + 1
    assert "Cast" not in ran  # the weights stored as INT8 are float once loaded
    assert ran.count("Mul") == 2  # the two differences' means, and no weights


def test_int8_weights_are_small_enough_for_every_cpu(everything: Path) -> None:
    artifact = read_artifact(everything / "efficientad-n-int8.onnx")
    weights = [
        numpy_helper.to_array(tensor).astype(int)
        for tensor in onnx.load(artifact.path).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and not tensor.name.endswith("_zero")
    ]
    assert artifact.manifest.quantization is not None
    largest = artifact.manifest.quantization.largest_weight
    assert max(np.abs(values).max() for values in weights) == largest
    assert 2 * 255 * largest < 2**15
    assert not artifact.manifest.overflows_16_bits


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-tensorrt"])
def test_variants_keep_contract_and_scores(
    everything: Path, precision: str, photos: CalibrationPhotos
) -> None:
    source = onnx.load(everything / "efficientad-n.onnx")
    model = onnx.load(everything / f"efficientad-n-{precision}.onnx")
    assert list(model.graph.input) == list(source.graph.input)
    assert list(model.graph.output) == list(source.graph.output)
    batch = np.concatenate([photos.good, photos.defective])
    before, after = scores(source, batch), scores(model, batch)
    assert np.abs(before - after).max() < 0.1 * np.ptp(before)
    assert np.corrcoef(before, after)[0, 1] > 0.99


def test_int8_is_a_quarter_of_fp32(everything: Path) -> None:
    ratio = (everything / "efficientad-n-int8.onnx").stat().st_size / (
        everything / "efficientad-n.onnx"
    ).stat().st_size
    assert ratio < 0.28


def test_the_manifest_says_how_it_was_quantized(everything: Path) -> None:
    manifest = read_artifact(everything / "efficientad-n-int8.onnx").manifest
    assert manifest.precision == "int8"
    assert manifest.quantization is not None
    assert manifest.quantization.scheme == qdq.ONNXRUNTIME_SCHEME
    assert manifest.quantization.images == 4 + 12  # held out, and learned from where those are few
    assert manifest.parity is not None
    assert manifest.parity.reference == "fp32"
    assert manifest.gate is not None
    assert manifest.gate["max_drop"] == 100


def test_the_threshold_is_fitted_to_the_variants_own_scores(
    everything: Path, trained_run: Path
) -> None:
    record = json.loads((trained_run / "run.json").read_text())
    with EdgeDetector(everything / "efficientad-n-int8.onnx", "onnxruntime") as detect:
        own = [detect(path).score for path in record["held_out"]]
        statistics = detect.manifest.score_statistics
    assert statistics.mean == pytest.approx(np.mean(own), rel=1e-5)
    assert statistics.maximum == pytest.approx(max(own), rel=1e-5)


def test_tensorrt_takes_its_graph_and_not_the_other(everything: Path) -> None:
    assert (
        tensorrt_rules.violations(onnx.load(everything / "efficientad-n-int8-tensorrt.onnx")) == []
    )
    found = " ".join(tensorrt_rules.violations(onnx.load(everything / "efficientad-n-int8.onnx")))
    for complaint in ("uint8", "quantized bias", "stored integers", "reads the photo's bytes"):
        assert complaint in found
    with pytest.raises(GateRefused, match="breaks .* of TensorRT's rules"):
        tensorrt_rules.require(onnx.load(everything / "efficientad-n-int8.onnx"))


@pytest.mark.parametrize("precision", ["fp16", "int8-tensorrt"])
def test_the_photo_is_cast_before_anything_else(everything: Path, precision: str) -> None:
    graph = onnx.load(everything / f"efficientad-n-{precision}.onnx").graph
    assert [node.op_type for node in graph.node if "image" in node.input] == ["Cast"]


@pytest.mark.parametrize(
    ("suffix", "value", "complaint"),
    [("_zero", 1, "zero point other than 0"), ("_scale", 0, "not above 0")],
)
def test_the_rules_see_a_wrong_parameter(
    everything: Path, suffix: str, value: int, complaint: str
) -> None:
    model = onnx.load(everything / "efficientad-n-int8-tensorrt.onnx")
    tensor = next(t for t in model.graph.initializer if t.name.endswith(suffix))
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(old, value), tensor.name))
    assert any(complaint in sentence for sentence in tensorrt_rules.violations(model))


def test_equalising_changes_nothing_in_fp32(
    fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    names = list(equalisable(fp32))
    assert len(names) == 6 + 8  # teacher and student trunks, and the autoencoder's ReLUs
    rng = np.random.default_rng(0)
    maxima = {}
    for name, (values,) in zip(
        names, ([v] for v in next(probe(fp32, names, [photos.good[:1]]))), strict=True
    ):
        maxima[name] = rng.uniform(0.1, 10, len(values)).astype(np.float32)
    changed = equalise(fp32, maxima)
    np.testing.assert_allclose(
        scores(changed, photos.defective), scores(fp32, photos.defective), rtol=1e-4
    )


def test_rounding_by_moments_beats_rounding_to_nearest(
    fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    nearest = onnx.ModelProto()
    nearest.CopyFrom(fp32)
    names = {n.input[1] for n in fp32.graph.node if n.name in roles.convolutions(fp32)}
    for tensor in nearest.graph.initializer:
        if tensor.name in names:
            weights = numpy_helper.to_array(tensor)
            scales = qdq.weight_scales(weights).reshape(-1, 1, 1, 1)
            rounded = (np.rint(weights / scales) * scales).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    learned = round_weights(fp32, photos.for_ranges())
    truth = raw_maps(fp32, photos.good)
    errors = [np.square(raw_maps(m, photos.good) - truth).mean() for m in (nearest, learned)]
    assert errors[1] < 0.25 * errors[0]


def test_a_channel_without_weights_keeps_its_bias() -> None:
    model = onnx.load_from_string(tiny_model(bias=0.5))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
    zeros = np.zeros_like(numpy_helper.to_array(weights))
    weights.CopyFrom(numpy_helper.from_array(zeros, "w"))
    made = qdq.for_onnxruntime(model, {"cells": Range(0.0, 1.0)})
    photo = np.full((1, 32, 32, 3), 200, np.uint8)
    assert scores(made, photo)[0] == pytest.approx(0.5, abs=1 / 255)


@pytest.mark.parametrize("with_bias", [True, False])
def test_refitting_brings_the_scores_back(
    fp32: onnx.ModelProto, photos: CalibrationPhotos, with_bias: bool
) -> None:
    if not with_bias:  # exporters drop a bias of zeros
        bare = onnx.ModelProto()
        bare.CopyFrom(fp32)
        head = next(node for node in bare.graph.node if node.name == roles.HEAD)
        del head.input[2]
        fp32 = bare
    shifted = onnx.ModelProto()
    shifted.CopyFrom(fp32)
    difference = next(node for node in shifted.graph.node if node.name == "difference")
    for tensor in shifted.graph.initializer:
        if tensor.name in difference.input[1:]:  # the student-teacher map grows by half
            values = numpy_helper.to_array(tensor) * np.float32(1.5**0.5)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    expected = scores(fp32, photos.defective)
    assert np.abs(scores(shifted, photos.defective) / expected - 1).min() > 0.05
    refitted = refit_head(fp32, shifted, photos.good)
    found = scores(refitted, photos.defective)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_an_artifact_is_exported_again_without_its_run(
    exported: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    good = str(shared_dataset / "train/good")
    options = ExportOptions(int8="static", calibration=good, max_drop=100)
    variants = export(exported, tmp_path, options)
    assert [variant.name for variant in variants] == [
        "efficientad-n",
        "efficientad-n-int8",
        "efficientad-n-int8-tensorrt",
    ]
    assert read_artifact(tmp_path / "efficientad-n.onnx").manifest.parity is not None


def test_a_refused_variant_is_not_written(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "efficientad-n-int8-dynamic.onnx").write_text("from an earlier export")
    with pytest.raises(GateRefused, match=r"efficientad-n-int8-dynamic: .*--max-drop"):
        # Nothing can gain half a hundred points.
        export(trained_run, tmp_path, ExportOptions(int8="dynamic", max_drop=-50))
    assert (tmp_path / "efficientad-n-int8-dynamic.onnx").read_text() == "from an earlier export"
    (entry,) = (
        v
        for v in json.loads((tmp_path / "report.json").read_text())["variants"]
        if v["precision"] != "fp32"
    )
    assert entry["accepted"] is False
    assert entry["file"] is None


def test_a_verdict_that_chance_leaves_open_is_made_on_more_defects(
    exported: Path, shared_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shared_dataset / "train/good"
    options = ExportOptions(fp16=True, calibration=str(good), max_drop=100)
    counts = []
    for is_open in (False, True):
        monkeypatch.setattr(gate, "is_open", lambda *_, answer=is_open: answer)
        export(exported, tmp_path, options)
        found = read_artifact(tmp_path / "efficientad-n-fp16.onnx").manifest.gate
        assert found is not None
        counts.append(found["after"]["synthetic_defects"])
        assert found["before"]["synthetic_defects"] == counts[-1]
    assert counts[1] == 4 * counts[0] > 0


def test_auto_keeps_one_kind_and_says_why_not_the_other(trained_run: Path, tmp_path: Path) -> None:
    variants = export(trained_run, tmp_path, ExportOptions(int8="auto", max_drop=100))
    measured = [v for v in variants if v.precision in ("int8", "int8-dynamic")]
    assert len(measured) == 2
    kept = [v for v in measured if v.accepted]
    assert len(kept) == 1
    assert kept[0].latency_ms == min(v.latency_ms for v in measured)
    assert next(v.reason for v in measured if not v.accepted) != "passed the gate"
    files = {path.name for path in tmp_path.glob("*.onnx")}
    assert files == {v.file for v in variants if v.accepted}


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = main([str(word) for word in words])
    said = capsys.readouterr().err
    assert code in (1, 2), said
    assert "Traceback" not in said
    return said


def test_bad_input_is_refused_in_a_sentence(
    everything: Path,
    exported: Path,
    trained_run: Path,
    shared_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    int8 = everything / "efficientad-n-int8.onnx"
    assert "no longer has the FP32 weights" in refused(
        capsys, "export", int8, "--out", out, "--int8"
    )
    assert "--calibration DIR" in refused(capsys, "export", exported, "--out", out, "--int8")

    empty = tmp_path / "empty"
    empty.mkdir()
    base = ("export", trained_run, "--out", out, "--int8", "static", "--calibration")
    assert str(empty) in refused(capsys, *base, empty)

    plain = shared_dataset / "train/good"
    said = refused(capsys, "export", trained_run, "--out", out, "--validate", plain)
    assert "nothing to evaluate on" in said

    few = tmp_path / "few"
    write_photo(few / "a.png", part(0))
    assert "at least 4" in refused(capsys, *base, few)
    (few / "b.png").write_bytes(b"not a picture")
    assert "b.png" in refused(capsys, *base, few)

    said = refused(capsys, *base, shared_dataset / "test/blot")
    assert "'blot'" in said
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(onnx.load(exported).graph.SerializeToString())
    assert "foreign.onnx" in refused(capsys, "export", foreign, "--out", out, "--int8")
    assert not list(tmp_path.glob("out/*.onnx"))


@pytest.mark.parametrize("source", ["trained_run", "exported"])
def test_photos_of_another_product_and_size_are_warned_of(
    source: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    for index in range(4):
        write_photo(tmp_path / f"other/{index}.png", rng.integers(0, 256, (40, 80, 3), np.uint8))
    options = ExportOptions(calibration=str(tmp_path / "other"))
    export(request.getfixturevalue(source), tmp_path / "out", options)
    said = capsys.readouterr().err
    assert "same product" in said
    assert "80x40 px, the training photos 90x70 px" in said
    assert "train it for more steps" in said  # defects do not stand out of noise


def test_photos_that_were_learned_from_are_warned_of(
    exported: Path, shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(shared_dataset / "train/good")
    export(exported, tmp_path / "out", ExportOptions(calibration=good))
    said = capsys.readouterr().err
    assert "if they were used for training" not in said
    artifact = read_artifact(exported)
    statistics = artifact.manifest.score_statistics
    higher = dataclasses.replace(statistics, minimum=statistics.maximum + 1)
    changed = write_artifact(
        tmp_path / "changed.onnx",
        exported.read_bytes(),
        artifact.manifest.replace(score_statistics=higher),
    )
    export(changed.path, tmp_path / "out", ExportOptions(calibration=good))
    assert "were not used for training" in capsys.readouterr().err


def test_a_kind_that_was_asked_for_and_refused_is_exit_code_3_beside_one_that_passed(
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def too_large(*_: object) -> onnx.ModelProto:
        raise GateRefused("FP16 was refused: an activation is too large")

    monkeypatch.setattr(fp16, "for_gpus", too_large)
    words = ["export", trained_run, "--out", tmp_path, "--fp16", "--int8", "--max-drop", "100"]
    assert main([str(word) for word in words]) == 3
    said = capsys.readouterr().err
    assert "FP16 was not written (FP16 was refused: an activation is too large)" in said
    assert list(tmp_path.glob("efficientad-n-int8*.onnx"))


def upside_down(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the map over, so that the order of the scores is lost: what every gate must refuse."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes = list(changed.graph.node)
    made = next(node for node in nodes if "anomaly_map" in node.output)
    made.output[0] = "map_before"
    neg = onnx.helper.make_node("Neg", ["map_before"], ["anomaly_map"], "neg")
    del changed.graph.node[:]
    for node in nodes:
        changed.graph.node.extend([node, neg] if node is made else [node])
    return changed


@pytest.mark.parametrize("broken", ["onnxruntime", "tensorrt"])
def test_each_kind_of_static_int8_is_refused_for_itself_alone(
    broken: str,
    exported: Path,
    shared_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = static.static_int8

    def made(*arguments: Any) -> static.StaticInt8:
        both = real(*arguments)
        return dataclasses.replace(both, **{broken: upside_down(getattr(both, broken))})

    monkeypatch.setattr(static, "static_int8", made)
    words = ["export", str(exported), "--max-drop", "100", "--out", str(tmp_path)]
    words += ["--calibration", str(shared_dataset / "train/good")]
    refused, file = {
        "onnxruntime": ("static INT8", "efficientad-n-int8.onnx"),
        "tensorrt": ("INT8 for TensorRT", "efficientad-n-int8-tensorrt.onnx"),
    }[broken]
    for option, kind in (
        (["--tensorrt", "int8"], "INT8 for TensorRT"),
        (["--int8", "static"], "static INT8"),
    ):
        capsys.readouterr()
        assert main([*words, *option]) == (3 if kind == refused else 0)
        assert not (tmp_path / file).exists()
        if kind == refused:
            assert f"{kind} was not written ({Path(file).stem}: " in capsys.readouterr().err


def test_a_graph_that_breaks_tensorrts_rules_costs_the_others_nothing(
    exported: Path,
    shared_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(_: object) -> None:
        raise GateRefused("the graph breaks 1 of TensorRT's rules")

    monkeypatch.setattr(tensorrt_rules, "require", broken)
    asked = ExportOptions(
        int8="static", calibration=str(shared_dataset / "train/good"), max_drop=100
    )
    export(exported, tmp_path, asked)
    assert "breaks 1 of TensorRT's rules" in capsys.readouterr().err
    assert (tmp_path / "efficientad-n-int8.onnx").exists()
    asked = dataclasses.replace(asked, int8=None, tensorrt_int8=True)
    with pytest.raises(GateRefused, match=r"INT8 for TensorRT was not written .*TensorRT's rules"):
        export(exported, tmp_path, asked)


def test_held_out_photos_that_are_gone_are_named(trained_run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    moved.mkdir()
    for file in trained_run.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    record = Run(moved).read_record()
    gone = (Path("/gone/000.png"), *record.held_out[1:])
    Run(moved).write_record(dataclasses.replace(record, held_out=gone))
    with pytest.raises(DataError, match=r"/gone/000\.png.*--calibration DIR"):
        export(moved, tmp_path / "out")
