from __future__ import annotations

import pytest

from tests.conftest import tiny_model


def test_what_is_written_byte_by_byte_is_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="a device has no onnx")
    for size in ((32, 32), (96, 128)):
        model = onnx.load_from_string(tiny_model(size, bias=0.5))
        onnx.checker.check_model(model, full_check=True)
        assert model.SerializeToString(deterministic=True) == tiny_model(size, bias=0.5)
