import dataclasses

import pytest

from edgead.artifact import (
    FP16,
    FP32,
    INT8,
    INT8_DYNAMIC,
    INT8_TENSORRT,
    KINDS,
    EngineSpec,
    QuantizationSpec,
    kind_of,
)
from tests.conftest import manifest_for


def test_a_name_of_a_manifest_stands_for_its_kind() -> None:
    assert [kind_of(name) for name in KINDS] == [FP32, FP16, INT8, INT8_DYNAMIC, INT8_TENSORRT]
    for name in KINDS:
        assert manifest_for(32, 32, (8, 8)).replace(precision=name).kind is KINDS[name]


@pytest.mark.parametrize(
    ("name", "arithmetic"), [("int4", "int4"), ("int8-ncnn", "int8"), ("fp16-v2", "fp16")]
)
def test_a_kind_of_a_later_version_is_none_of_the_known_ones(name: str, arithmetic: str) -> None:
    kind = manifest_for(32, 32, (8, 8)).replace(precision=name).kind
    assert (kind.name, kind.arithmetic) == (name, arithmetic)
    assert kind not in KINDS.values()
    assert kind.is_made_for("onnxruntime")
    assert kind.engine is None


def test_an_engine_is_made_for_tensorrt_and_nothing_is_built_from_it() -> None:
    engine = EngineSpec(
        "10.3.0.0",
        "Orin",
        "8.7",
        8,
        "linux-aarch64",
        "int8",
        (1, 1, 8),
        True,
        {},
        "a.onnx",
        "0" * 64,
        "0" * 64,
        1.0,
    )
    kind = manifest_for(32, 32, (8, 8)).replace(engine=engine, precision="int8").kind
    assert kind.is_int8
    assert kind.quantization == "static"
    assert kind.is_made_for("tensorrt")
    assert not kind.is_made_for("onnxruntime")
    assert kind.engine is None


@pytest.mark.parametrize(
    ("name", "may"), [("int8", True), ("int8-dynamic", False), ("fp16", False)]
)
def test_only_static_weights_can_overflow_sums(name: str, may: bool) -> None:
    spec = QuantizationSpec("static", "", None, 0, None)
    manifest = manifest_for(32, 32, (8, 8)).replace(precision=name, quantization=spec)
    assert manifest.overflows_16_bits is may
    bounded = dataclasses.replace(spec, largest_weight=64)
    assert not manifest.replace(quantization=bounded).overflows_16_bits


def test_only_the_graph_for_tensorrt_is_no_file_to_run() -> None:
    assert [kind.name for kind in KINDS.values() if kind.only_builds_engines] == ["int8-tensorrt"]
