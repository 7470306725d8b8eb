"""Streams of small graphs, with what exporters may do to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgead.export.streams import equalise_streams, streams
from edgead.runtimes.onnxruntime import library

CHANNELS = 4
MAXIMA = np.array([1.0, 8.0, 0.5, 2.0], np.float32)


def conv(
    name: str, source: str, weight: str | None = None, bias: str | None = None
) -> onnx.NodeProto:
    inputs = [source, weight or f"{name}.w", bias or f"{name}.b"]
    return helper.make_node("Conv", inputs, [f"{name}.out"], name=name, kernel_shape=[1, 1])


def network(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str] = ("score",)
) -> onnx.ModelProto:
    """A depthwise convolution, then what is given; ``last`` reads it and makes the score."""
    rng = np.random.default_rng(0)
    first = helper.make_node(
        "Conv", ["image", "first.w"], ["x"], name="first", group=CHANNELS, kernel_shape=[1, 1]
    )
    end = helper.make_node("GlobalAveragePool", ["last.out"], ["score"], name="head/mean")
    weights = {"first.w": rng.normal(size=(CHANNELS, 1, 1, 1))}
    for node in nodes:
        for name in node.input[1:] if node.op_type == "Conv" else ():
            wide = 2 * CHANNELS if node.input[0] == "joined" else CHANNELS
            shape = (CHANNELS, wide, 1, 1) if name.endswith("w") else (CHANNELS,)
            weights.setdefault(name, rng.normal(size=shape))
    graph = helper.make_graph(
        [first, *nodes, end],
        "streams",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, CHANNELS, 3, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def add(name: str, *sources: str) -> onnx.NodeProto:
    return helper.make_node("Add", list(sources), [name], name=name)


def concat(*sources: str) -> onnx.NodeProto:
    return helper.make_node("Concat", list(sources), ["joined"], name="join", axis=1)


GRAPHS = {
    "a sum": network(
        [conv("a", "x"), conv("b", "a.out"), add("s", "a.out", "b.out"), conv("last", "s")]
    ),
    "equal biases stored once": network(
        [
            conv("a", "x", bias="n"),
            conv("b", "a.out", bias="n"),
            add("s", "a.out", "b.out"),
            conv("last", "s", bias="n"),
        ]
    ),
    "equal weights stored once": network(
        [
            conv("a", "x", "n.w"),
            conv("b", "a.out", "n.w"),
            add("s", "a.out", "b.out"),
            conv("last", "s", "n.w"),
        ]
    ),
    "a concatenation": network([conv("a", "x"), concat("x", "a.out"), conv("last", "joined")]),
    "a tensor twice in a concatenation": network(
        [conv("a", "x"), concat("a.out", "a.out"), conv("last", "joined")]
    ),
    "a tensor that is an output": network(
        [conv("a", "x"), conv("last", "a.out")], ("score", "a.out")
    ),
    "a concatenation that is an output": network(
        [conv("a", "x"), concat("x", "a.out"), conv("last", "joined")], ("score", "joined")
    ),
    "a sum with itself": network([conv("a", "x"), add("s", "a.out", "a.out"), conv("last", "s")]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_no_output_changes(name: str) -> None:
    model = GRAPHS[name]
    maxima = {tensor: MAXIMA for stream in streams(model) for tensor in stream.tensors}
    even = equalise_streams(model, maxima)
    image = np.random.default_rng(1).normal(size=(1, CHANNELS, 3, 3)).astype(np.float32)
    before, after = (_outputs(graph, image) for graph in (model, even))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_only_what_can_be_is_evened_out() -> None:
    found = {name: {m for s in streams(model) for m in s.makers} for name, model in GRAPHS.items()}
    assert {"a", "b"} <= found["a sum"]
    assert "a" in found["a concatenation"]
    assert "a" in found["a sum with itself"]
    for name in ("a tensor twice in a concatenation", "a tensor that is an output"):
        assert "a" not in found[name]
    assert "a" not in found["a concatenation that is an output"]


def _outputs(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = library.load().InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {"image": image}))
