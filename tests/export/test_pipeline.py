from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgead import images
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector, open_detector
from edgead.errors import EdgeadError, GateRefused
from edgead.export import ExportOptions, export, fp16, gate, graph


def test_scores_are_torchs_on_photos_of_any_size(exported: Path, trained_run: Path) -> None:
    rng = np.random.default_rng(0)
    with EdgeDetector(exported) as device, open_detector(trained_run) as reference:
        for size in ((70, 90), (301, 200), (97, 640)):
            photo = rng.integers(0, 256, (*size, 3), np.uint8)
            ours, theirs = device(photo), reference(photo)
            assert ours.score == pytest.approx(theirs.score, rel=1e-4)
            np.testing.assert_allclose(ours.anomaly_map, theirs.anomaly_map, rtol=1e-3, atol=1e-4)


def test_a_batch_gives_the_scores_of_its_photos(exported: Path, shared_dataset: Path) -> None:
    photos = [images.read_image(p.path) for p in Dataset.from_folder(shared_dataset).test]
    with EdgeDetector(exported) as detect:
        alone = [detect(photo).score for photo in photos]
        together = [detection.score for detection in detect(photos)]
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)  # good parts score nearly 0


def test_the_graph_keeps_the_contract(exported: Path) -> None:
    model = onnx.load(exported)
    (entry,) = model.graph.input
    assert entry.name == "image"
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sides = [d.dim_value or d.dim_param for d in entry.type.tensor_type.shape.dim]
    assert sides[1:] == [96, 128, 3]
    assert isinstance(sides[0], str)
    assert [output.name for output in model.graph.output] == ["anomaly_map", "score"]
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [17]


def with_nan(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(np.nan), tensor.name))
    return changed


def test_a_detector_without_finite_scores_is_told_how_to_train_again(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graph.to_onnx
    monkeypatch.setattr(
        graph,
        "to_onnx",
        lambda model: with_nan(onnx.load_from_string(real(model))).SerializeToString(),
    )
    with pytest.raises(
        GateRefused, match=r"run is no usable detector.*finite; .* train into a new"
    ) as e:
        export(trained_run, tmp_path / "exports")
    assert ".scratch-" not in str(e.value)
    assert not (tmp_path / "exports").exists()


def test_a_variant_without_finite_scores_costs_the_others_nothing(
    exported: Path, shared_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fp16, "for_gpus", lambda model, _: with_nan(model))
    good = str(shared_dataset / "train/good")
    options = ExportOptions(fp16=True, int8="dynamic", calibration=good, max_drop=100)
    monkeypatch.setattr(gate, "RANK_CORRELATION", 0.0)
    with pytest.raises(GateRefused, match=r"efficientad-n-fp16 was refused: .* not finite"):
        export(exported, tmp_path, options)
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == [
        "efficientad-n-int8-dynamic.onnx",
        "efficientad-n.onnx",
    ]


def test_an_export_that_changes_scores_is_refused_and_writes_nothing(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graph.to_onnx

    def off_by_a_bit(model: torch.nn.Module) -> bytes:
        proto = onnx.load_from_string(real(model))
        for tensor in proto.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 4:
                changed = onnx.numpy_helper.from_array(values * np.float32(1.01), tensor.name)
                tensor.CopyFrom(changed)
                break
        return proto.SerializeToString()

    monkeypatch.setattr(graph, "to_onnx", off_by_a_bit)
    with pytest.raises(EdgeadError, match="score"):
        export(trained_run, tmp_path / "exports")
    assert not (tmp_path / "exports").exists()
    before = {"efficientad-n.onnx": b"of an earlier export"}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeadError, match="score"):
        export(trained_run, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
