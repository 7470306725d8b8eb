from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from edgead import EdgeDetector, images, resizing
from edgead.artifact import Artifact
from edgead.benchmarks import streaming
from edgead.runtimes.base import RawOutput
from edgead.runtimes.onnxruntime import OnnxRuntime


def test_rates_of_calls_and_of_a_stream(
    tiny_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing and inferring take at least as long as they are made to wait."""
    monkeypatch.setattr(streaming, "_BLOCK_SECONDS", 0.4)
    infer, resize = OnnxRuntime._infer, resizing.resize

    inferring = threading.Event()
    overlaps = 0

    def slow_infer(self: OnnxRuntime, batch: images.Image) -> RawOutput:
        inferring.set()
        time.sleep(0.04)
        inferring.clear()
        return infer(self, batch)

    def slow_resize(photo: images.Image, size: tuple[int, int], method: str) -> images.Image:
        nonlocal overlaps
        overlaps += inferring.is_set()
        time.sleep(0.04)
        return resize(photo, size, method)

    with EdgeDetector(tiny_artifact().path) as detect:
        monkeypatch.setattr(OnnxRuntime, "_infer", slow_infer)
        monkeypatch.setattr(resizing, "resize", slow_resize)
        found = streaming.measure_streaming(detect, [np.zeros((60, 80, 3), np.uint8)], 3)
    assert found.prepare_ms >= 40
    assert found.infer_ms >= 40
    assert found.calls_fps <= 1 / 0.08  # one wait after the other
    assert found.stream_fps <= 1 / 0.04  # both at once
    assert overlaps > 0
    assert found.gain.low <= found.gain.value <= found.gain.high
