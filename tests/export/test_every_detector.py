"""STFPM, Reverse Distillation and the survey's EfficientAd through the same export."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from edgead.calibration.calibrators import Range
from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.probe import probe
from edgead.calibration.ranges import extremes
from edgead.export import ExportOptions, export, fp16, graph, qdq, roles, tensorrt_rules
from edgead.export.dynamic import dynamic_int8
from edgead.export.rounding import round_weights
from edgead.export.tensorrt.onnx_nodes import cast_first
from edgead.models import create_model
from edgead.models._fusion import NAMES
from edgead.networks import resnet
from edgead.training import TrainConfig, train
from tests.graphs import operators
from tests.models.reference import photos as smooth_photos
from tests.models.reference import randomise

SIZE = (64, 96)

CASES: dict[str, tuple[str, dict[str, str | float]]] = {
    "stfpm": ("stfpm", {}),
    "rd": ("reverse-distillation-resnet18", {}),
    "survey": ("efficientad-survey", {}),
}

SUMS = {"stfpm": 3 + 3, "rd": 3 + 2 + 3, "survey": 0}
"""Residual sums of each."""


@pytest.fixture(scope="module", autouse=True)
def _fewer_blocks() -> Iterator[None]:
    """One residual block a stage: every kind of layer is there, and tracing takes half the time."""
    with pytest.MonkeyPatch.context() as patch:
        short = dataclasses.replace(resnet.ARCHITECTURES["resnet18"], blocks=(1, 1, 1))
        patch.setitem(resnet.ARCHITECTURES, "resnet18", short)
        yield


@pytest.fixture(scope="module")
def photos() -> CalibrationPhotos:
    good = smooth_photos(4, SIZE).numpy()
    defective = smooth_photos(4, SIZE, seed=1).numpy()
    return CalibrationPhotos((Path("x"),) * 4, good, defective, (SIZE,) * 4, "0" * 64)


def fp32(name: str, options: dict[str, str | float]) -> tuple[torch.nn.Module, onnx.ModelProto]:
    torch.manual_seed(0)
    made = create_model(name, SIZE, **options)
    randomise(made)
    made.eval()
    return made, onnx.load_from_string(graph.to_onnx(made))


@pytest.fixture(scope="module")
def graphs() -> Callable[[str], onnx.ModelProto]:
    known: dict[str, onnx.ModelProto] = {}

    def get(case: str) -> onnx.ModelProto:
        if case not in known:
            known[case] = fp32(*CASES[case])[1]
        return known[case]

    return get


def run(model: onnx.ModelProto, batch: np.ndarray, output: str = "anomaly_map") -> np.ndarray:
    (values,) = zip(*probe(model, [output], [photo[None] for photo in batch]), strict=True)
    return np.concatenate(values)


def ranges(model: onnx.ModelProto, photos: CalibrationPhotos) -> dict[str, Range]:
    return extremes(model, qdq.calibrated_tensors(model), photos.for_ranges())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("stfpm", {"fusion": fusion}) for fusion in NAMES),
        ("reverse-distillation-resnet18", {"l2": 0.1}),
        ("efficientad-survey", {}),
    ],
)
def test_onnx_runtime_gives_torchs_scores(name: str, options: dict[str, str | float]) -> None:
    made, model = fp32(name, options)
    batch = smooth_photos(6, SIZE, seed=2)
    with torch.no_grad():
        maps, scores = made(batch)
    span = float(scores.max() - scores.min())
    assert np.abs(run(model, batch.numpy(), "score") - scores.numpy()).max() < 1e-4 * span
    assert np.abs(run(model, batch.numpy()) - maps.numpy()).max() < 1e-3 * float(maps.max())


@pytest.mark.parametrize("case", CASES)
def test_networks_run_as_integers(
    case: str,
    graphs: Callable[[str], onnx.ModelProto],
    photos: CalibrationPhotos,
    tmp_path: Path,
) -> None:
    model = graphs(case)
    int8 = qdq.for_onnxruntime(model, ranges(model, photos))
    ran = operators(int8, tmp_path)
    assert ran.count("QLinearConv") == len(roles.integer_convolutions(model))
    in_autoencoder = {"stfpm": 0, "rd": 0, "survey": 3}[case]
    assert sum("ConvTranspose" in name for name in ran) == in_autoencoder
    assert ran.count("QLinearAdd") == SUMS[case]
    before, after = run(model, photos.good), run(int8, photos.good)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("case", CASES)
def test_tensorrt_takes_its_graph(
    case: str, graphs: Callable[[str], onnx.ModelProto], photos: CalibrationPhotos
) -> None:
    model = graphs(case)
    written = qdq.for_tensorrt(model, ranges(model, photos)).SerializeToString()
    made = onnx.load_from_string(cast_first(written))
    assert tensorrt_rules.violations(made) == []
    rounded = {n.output[0] for n in made.graph.node if n.op_type == "DequantizeLinear"}
    sums = [n for n in made.graph.node if n.op_type == "Add" and rounded & set(n.input)]
    assert all(len(rounded & set(node.input)) == 1 for node in sums)
    assert len(sums) == SUMS[case]
    transposed = [
        n for n in made.graph.node if n.op_type == "ConvTranspose" and not roles.is_autoencoder(n)
    ]
    producers = {n.output[0]: n for n in made.graph.node}
    for node in transposed:
        axis = {a.name: helper.get_attribute_value(a) for a in producers[node.input[1]].attribute}
        assert axis["axis"] == 1
    assert len(transposed) == {"stfpm": 0, "rd": 6, "survey": 0}[case]
    before, after = run(model, photos.good), run(made, photos.good)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def test_the_rules_see_a_quantized_convolution_branch(
    graphs: Callable[[str], onnx.ModelProto], photos: CalibrationPhotos
) -> None:
    model = graphs("stfpm")
    made = qdq.for_tensorrt(model, ranges(model, photos))
    rounded = {n.output[0] for n in made.graph.node if n.op_type == "DequantizeLinear"}
    node = next(n for n in made.graph.node if n.op_type == "Add" and rounded & set(n.input))
    for index, name in enumerate(node.input):
        if name not in rounded:
            node.input[index] = next(iter(rounded))
    assert any("both branches" in sentence for sentence in tensorrt_rules.violations(made))


@pytest.mark.parametrize("case", CASES)
def test_fp16_and_dynamic_int8_keep_the_map(
    case: str, graphs: Callable[[str], onnx.ModelProto], photos: CalibrationPhotos
) -> None:
    model = graphs(case)
    seen = extremes(model, fp16.checked_tensors(model), photos.for_ranges())
    before = run(model, photos.good)
    for made, least in ((fp16.for_gpus(model, seen), 0.999), (dynamic_int8(model), 0.95)):
        after = run(made, photos.good)
        assert np.isfinite(after).all()
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > least
    kinds = {t.data_type for t in fp16.for_gpus(model, seen).graph.initializer if t.dims}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_a_transposed_convolution_is_rounded_by_its_inputs(
    graphs: Callable[[str], onnx.ModelProto],
    photos: CalibrationPhotos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights become whole multiples of one scale a channel, and the graph stays closer to FP32."""
    model = graphs("rd")
    transposed = [n.name for n in model.graph.node if n.op_type == "ConvTranspose"]
    monkeypatch.setattr(roles, "convolutions", lambda _: transposed)  # the others take a minute
    learned = round_weights(model, photos.for_ranges())
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in learned.graph.initializer}
    node = next(n for n in model.graph.node if n.op_type == "ConvTranspose")
    weights, scales = tensors[node.input[1]], tensors[qdq.chosen_scales(node.input[1])]
    assert scales.shape == (weights.shape[1],)
    integers = weights / scales.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-3)
    assert np.abs(integers).max() <= 127.001
    assert np.abs(run(learned, photos.good) - run(model, photos.good)).max() < 0.02


def test_a_run_is_exported_in_every_precision(shared_dataset: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        "efficientad-survey",
        str(shared_dataset),
        SIZE,
        steps=3,
        batch_size=4,
        teacher="random",
    )
    train(config, tmp_path / "run", device="cpu")
    variants = export(
        tmp_path / "run",
        tmp_path / "out",
        ExportOptions(fp16=True, int8="static", max_drop=100),
    )
    assert [variant.precision for variant in variants] == [
        "fp32",
        "fp16",
        "int8",
        "int8-tensorrt",
    ]
    assert variants[0].parity.max_score_diff_relative < 1e-4
    files = [onnx.load(tmp_path / "out" / str(variant.file)) for variant in variants]
    assert {file.ir_version for file in files} == {8}  # ONNX Runtime 1.17 reads 9 at most
