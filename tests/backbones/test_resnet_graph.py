"""ResNet trunks without torch: the graph is torch's, and files of every format give the same."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="a device needs edgead[teach] to build graphs")

from edgead.backbones import legacy_torch, onnx_resnet, resnet, safetensors, weights_file
from edgead.backbones.graph import Graph
from edgead.backbones.known import BACKBONES
from edgead.errors import EdgeadError, UsageError
from edgead.runtimes.onnxruntime import library

NAMES = ("resnet18", "wide_resnet50_2")


def made_up(name: str) -> safetensors.Arrays:
    """Weights drawn so that activations neither vanish nor explode."""
    rng = np.random.default_rng(0)
    arrays = {}
    for key, shape in onnx_resnet.shapes(name).items():
        if len(shape) == 4:
            values = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        elif key.endswith(("running_var", "weight")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.uniform(-0.5, 0.5, shape)
        arrays[key] = values.astype(np.float32)
    return arrays


def run(graph: Graph, names: list[str], photos: np.ndarray) -> list[np.ndarray]:
    import onnx
    from onnx import helper

    outputs = []
    for stage, name in enumerate(names):
        graph.nodes.append(helper.make_node("Identity", [name], [f"stage{stage}"]))
        sides = ["batch", None, None, None]
        outputs.append(
            helper.make_tensor_value_info(f"stage{stage}", onnx.TensorProto.FLOAT, sides)
        )
    session = library.load().InferenceSession(
        graph.model(outputs).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": photos})


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture with fewer and narrower blocks, of the same kinds."""
    import dataclasses

    whole = resnet.ARCHITECTURES[request.param]
    small = dataclasses.replace(whole, blocks=(2, 1, 2), width=16 if whole.bottleneck else 64)
    monkeypatch.setitem(resnet.ARCHITECTURES, request.param, small)
    return str(request.param)


def test_the_graph_is_the_torch_trunk(name: str) -> None:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    from edgead.networks.inputs import to_network_input
    from edgead.networks.resnet import Trunk

    arrays = made_up(name)
    trunk = Trunk(name).eval()
    found = trunk.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)
    photos = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), np.uint8)
    with torch.no_grad():
        expected = [level.numpy() for level in trunk(to_network_input(torch.from_numpy(photos)))]
    graph, names = onnx_resnet.begin(arrays, (64, 96), 3, name)
    stages = run(graph, names, photos)
    backbone = BACKBONES[name]
    assert len(stages) == backbone.last + 1 == 4
    for stage, values in enumerate(stages):
        step = backbone.strides[stage]
        assert values.shape == (2, backbone.channels[stage], 64 // step, 96 // step)
    for one, other in zip(stages[1:], expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("name", NAMES)
def test_the_arrays_are_those_of_the_published_networks(name: str) -> None:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    from edgead.networks.resnet import Trunk

    with torch.device("meta"):
        trunk = Trunk(name)
    expected = {
        key: tuple(value.shape)
        for key, value in trunk.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert onnx_resnet.shapes(name) == expected


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="100x64 is not a multiple of 32"):
        onnx_resnet.begin({}, (100, 64), 3, "resnet18")


@pytest.fixture(scope="module")
def arrays() -> safetensors.Arrays:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.ARCHITECTURES, "resnet18", resnet.Architecture((1, 1, 1), False))
        return made_up("resnet18")


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(resnet.ARCHITECTURES, "resnet18", resnet.Architecture((1, 1, 1), False))


def saved(arrays: safetensors.Arrays, kind: str, prefix: str = "") -> bytes:
    if kind == "safetensors":
        return safetensors.packed({prefix + key: values for key, values in arrays.items()})
    torch = pytest.importorskip("torch", reason="a device has no torch")
    wrap = torch.nn.Parameter if kind == "parameters" else lambda values: values
    state = {prefix + key: wrap(torch.from_numpy(values)) for key, values in arrays.items()}
    state[f"{prefix}bn1.num_batches_tracked"] = torch.tensor(3)
    state[f"{prefix}fc.weight"] = torch.ones(10, 256)
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=kind != "legacy")
    return stream.getvalue()


@pytest.mark.usefixtures("one_block")
@pytest.mark.parametrize("kind", ["safetensors", "legacy", "zip", "parameters"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_format_gives_the_same_arrays(
    kind: str, prefix: str, arrays: safetensors.Arrays, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(arrays, kind, prefix))
    found, spec = weights_file.load(path, "resnet18")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[key], arrays[key]) for key in arrays)
    assert spec.name == "resnet18"
    assert "weights.pth" in spec.source
    assert "that of the weights file" in spec.licence


@pytest.mark.usefixtures("one_block")
def test_other_files_are_refused(arrays: safetensors.Arrays, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(UsageError, match="does not exist"):
        weights_file.load(path, "resnet18")
    less = {key: values for key, values in arrays.items() if key != "layer3.0.bn2.bias"}
    wide = {**arrays, "conv1.weight": np.zeros((32, 3, 7, 7), np.float32)}
    broken = {**arrays, "bn1.weight": np.full(64, np.nan, np.float32)}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    for content, reason in (
        (safetensors.packed(less), "is not a resnet18: it has no layer3.0.bn2.bias"),
        (safetensors.packed(wide), r"conv1.weight has the shape \(32, 3, 7, 7\), expected \(64"),
        (safetensors.packed(broken), "not a finite number"),
        (b"", "no weights file that can be read"),
        (b"\x80\x02}q\x00.", "no weights file that can be read"),
        (zipped.getvalue(), "without data.pkl"),
    ):
        path.write_bytes(content)
        with pytest.raises(EdgeadError, match=reason):
            weights_file.load(path, "resnet18")


def test_a_damaged_zip_is_refused_or_read() -> None:
    """Any cut is noticed; a changed byte is noticed, or changes no values."""
    few = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    whole = saved(few, "zip")
    for end in range(0, len(whole), 7):
        with pytest.raises(legacy_torch.NotTensorsError):
            legacy_torch.read_zip(whole[:end])
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        try:
            found = legacy_torch.read_zip(bytes(changed))
        except legacy_torch.NotTensorsError:
            continue
        assert all(np.array_equal(found[key], few[key]) for key in few)


def test_nothing_in_a_zip_is_executed(tmp_path: Path) -> None:
    import os
    import pickle

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"a": Harm()}, protocol=2))
    with pytest.raises(legacy_torch.NotTensorsError, match="mkdir"):
        legacy_torch.read_zip(stream.getvalue())
    assert not (tmp_path / "harm").exists()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    with pytest.raises(legacy_torch.NotTensorsError, match="compressed"):
        legacy_torch.read_zip(bomb.getvalue())
