"""What the export does with depthwise convolutions and ReLU6, on a trained EfficientNet-Lite0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.probe import probe
from edgead.calibration.ranges import channel_maxima, extremes
from edgead.errors import UsageError
from edgead.export import ExportOptions, fp16, graph, qdq, refit, roles, tensorrt_rules
from edgead.export.equalise import equalisable, readers
from edgead.export.pipeline import prepare
from edgead.export.rounding import round_weights
from edgead.export.streams import equalise_streams, streams
from edgead.export.tensorrt.onnx_nodes import cast_first
from edgead.models import create_model
from edgead.teaching.padim import FEWEST_PHOTOS
from edgead.teaching.texture import SHRINKAGE
from edgead.training import TrainConfig, train
from tests.graphs import operators
from tests.models.reference import photos as smooth_photos
from tests.models.reference import randomise

SIZE = (64, 64)


OTHERS = ("stfpm-lite0", "efficientad-lite0")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return exported("reverse-distillation-lite0")


def exported(name: str) -> onnx.ModelProto:
    torch.manual_seed(0)
    made = create_model(name, SIZE)
    randomise(made)
    made.eval().fit(lambda: iter([smooth_photos(FEWEST_PHOTOS, SIZE)]))
    return onnx.load_from_string(graph.to_onnx(made))


@pytest.fixture(scope="module")
def photos() -> CalibrationPhotos:
    good, defective = (smooth_photos(4, SIZE, seed=seed).numpy() for seed in (0, 1))
    return CalibrationPhotos((Path("x"),) * 4, good, defective, (SIZE,) * 4, "0" * 64)


def run(model: onnx.ModelProto, batch: np.ndarray, output: str = "anomaly_map") -> np.ndarray:
    (values,) = zip(*probe(model, [output], [photo[None] for photo in batch]), strict=True)
    return np.concatenate(values)


def test_all_but_the_first_two_run_as_integers(
    model: onnx.ModelProto, photos: CalibrationPhotos, tmp_path: Path
) -> None:
    check_integers(model, photos, tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_so_do_the_others(name: str, photos: CalibrationPhotos, tmp_path: Path) -> None:
    check_integers(exported(name), photos, tmp_path)


def check_integers(model: onnx.ModelProto, photos: CalibrationPhotos, tmp_path: Path) -> None:
    floats = roles.first_layers(model)
    assert floats == ["teacher/stem", "teacher/blocks.0.depthwise"]
    ranges = extremes(model, qdq.calibrated_tensors(model, floats), photos.for_ranges())
    int8 = qdq.for_onnxruntime(model, ranges, floats)
    ran = operators(int8, tmp_path)
    assert ran.count("QLinearConv") == len(roles.integer_convolutions(model)) - len(floats)
    before, after = run(model, photos.good), run(int8, photos.good)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95
    written = qdq.for_tensorrt(model, ranges, floats).SerializeToString()
    made = onnx.load_from_string(cast_first(written))
    assert tensorrt_rules.violations(made) == []
    assert np.corrcoef(before.ravel(), run(made, photos.good).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["reverse-distillation-lite0", *OTHERS])
def test_streams_are_evened_out_and_nothing_else_changes(
    name: str, photos: CalibrationPhotos
) -> None:
    whole = exported(name)
    found = streams(whole)
    tensors = [tensor for stream in found for tensor in stream.tensors]
    made = {maker for stream in found for maker in stream.makers}
    projections = {n.name for n in whole.graph.node if n.name.endswith("project")}
    assert {n for n in projections if n.startswith("teacher")} <= made
    assert all(not name.endswith(("expand", "depthwise")) for name in made)
    before = channel_maxima(whole, tensors, photos.for_ranges())
    even = equalise_streams(whole, before)
    onnx.checker.check_model(even, full_check=True)
    np.testing.assert_allclose(run(even, photos.good), run(whole, photos.good), rtol=1e-3)
    after = channel_maxima(even, tensors, photos.for_ranges())
    for stream in (stream for stream in found if not stream.readers):
        (tensor,) = stream.tensors
        assert np.ptp(after[tensor]) < 1e-3 * after[tensor].max()
        assert np.ptp(before[tensor]) > 0.1 * before[tensor].max()
    shallow = next(s for s in found if "teacher/blocks.3.project" in s.makers)
    assert len(shallow.others) == 1  # the map's own features get the values of before
    (restored,) = (
        n for n in even.graph.node if shallow.others[0] in n.input and n.op_type == "Mul"
    )
    np.testing.assert_allclose(
        run(even, photos.good, restored.output[0]),
        run(whole, photos.good, shallow.others[0]),
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_network_without_depthwise_convolutions_keeps_its_channels() -> None:
    made = create_model("stfpm", SIZE)
    randomise(made)
    residual = onnx.load_from_string(graph.to_onnx(made.eval()))
    assert any(node.op_type == "Add" for node in residual.graph.node)
    assert streams(residual) == []


def test_fp16_keeps_the_map(model: onnx.ModelProto, photos: CalibrationPhotos) -> None:
    seen = extremes(model, fp16.checked_tensors(model), photos.for_ranges())
    before, after = run(model, photos.good), run(fp16.for_gpus(model, seen), photos.good)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999


def test_each_channel_is_rounded_by_what_it_sees(
    model: onnx.ModelProto, photos: CalibrationPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights become whole multiples of their scales, and the output is closer than to nearest."""
    node = next(n for n in model.graph.node if n.name == "teacher/blocks.3.depthwise")
    monkeypatch.setattr(roles, "convolutions", lambda _: [node.name])
    learned = round_weights(model, photos.for_ranges())
    tensors = {t.name: numpy_helper.to_array(t) for t in learned.graph.initializer}
    weights, scales = tensors[node.input[1]], tensors[qdq.chosen_scales(node.input[1])]
    integers = weights / scales[:, None, None, None]
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-3)

    nearest = onnx.ModelProto()
    nearest.CopyFrom(model)
    tensor = next(t for t in nearest.graph.initializer if t.name == node.input[1])
    whole = np.rint(numpy_helper.to_array(tensor) / scales[:, None, None, None])
    rounded = (whole * scales[:, None, None, None]).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    expected = run(model, photos.good, node.output[0])
    errors = [
        np.square(run(made, photos.good, node.output[0]) - expected).mean()
        for made in (learned, nearest)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_the_gaussian_of_the_map_is_that_of_the_changed_features(model: onnx.ModelProto) -> None:
    """It was learned from these photos, so the new one is that of their INT8 features."""
    good = smooth_photos(FEWEST_PHOTOS, SIZE).numpy()
    floats = roles.first_layers(model)
    ranges = extremes(model, qdq.calibrated_tensors(model, floats), [photo[None] for photo in good])
    int8 = qdq.for_onnxruntime(model, ranges, floats)
    found = refit.refit_texture(model, int8, good)

    product = next(node for node in found.graph.node if node.input[0] == refit.TEXTURE_WEIGHT)
    vectors = run(found, good, product.input[1]).transpose(0, 2, 1).reshape(-1, 40)
    covariance = np.cov(vectors.T, bias=True)
    even = SHRINKAGE * np.trace(covariance) / 40 * np.eye(40)
    expected = np.linalg.inv((1 - SHRINKAGE) * covariance + even) / 40

    def error(made: onnx.ModelProto) -> float:
        tensors = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
        weight = tensors[refit.TEXTURE_WEIGHT]
        return float(np.abs(weight.T @ weight - expected).max())

    assert error(found) < 0.05 * error(int8)
    (added,) = (node for node in found.graph.node if product.output[0] in node.input)
    centred = run(found, good, added.output[0])
    np.testing.assert_allclose(centred.mean((0, 2)), 0, atol=1e-3 * np.abs(centred).max())


def test_no_activation_is_equalised_over_a_depthwise_convolution(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if n.name == "teacher/blocks.3.depthwise")
    assert readers(model.graph, node.input[0], 0) is None
    assert not set(equalisable(model)) & {
        n.input[0] for n in model.graph.node if roles.is_depthwise(n)
    }


def test_compression_is_refused(shared_dataset: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        "reverse-distillation-lite0",
        str(shared_dataset),
        SIZE,
        steps=2,
        batch_size=4,
        teacher="random",
        options={"fusion": "none"},
    )
    train(config, tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="made of depthwise convolutions"):
        prepare(tmp_path / "run", ExportOptions(compress=0.1))
