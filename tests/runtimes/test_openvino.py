from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgead import images
from edgead.artifact import Artifact, read_artifact, write_artifact
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError
from edgead.export.parity import FP32_TOLERANCE
from edgead.runtimes import RuntimeOptions, open_runtime
from edgead.runtimes.onnxruntime import OnnxRuntime
from edgead.runtimes.openvino import OpenVinoRuntime
from tests.conftest import manifest_for, part, tiny_model

if importlib.util.find_spec("openvino") is None:  # importing it would send telemetry
    pytest.skip("openvino is not installed", allow_module_level=True)

Make = Callable[..., Artifact]
ONE_THREAD = RuntimeOptions(threads=1)


def photos(size: tuple[int, int]) -> np.ndarray:
    return np.stack([images.resize(part(i, defect=i % 2 == 1), size) for i in range(6)])


@pytest.mark.parametrize("size", [(32, 32), (96, 128)])
def test_the_graph_computes_what_it_should_for_any_batch(
    tiny_artifact: Make, size: tuple[int, int]
) -> None:
    batch = photos(size)
    blocks = batch.astype(np.float64).reshape(6, size[0] // 4, 4, size[1] // 4, 4, 3)
    cells = blocks.mean((2, 4)) / 255
    expected = cells[..., 2] - 0.5 * cells[..., 0] - 0.5 * cells[..., 1]
    with OpenVinoRuntime(tiny_artifact(size=size), ONE_THREAD) as runtime:
        for count in (1, 6, 3, 1):
            output = runtime.infer(batch[:count])
            np.testing.assert_allclose(output.anomaly_map, expected[:count], atol=1e-6)
            np.testing.assert_array_equal(output.score, output.anomaly_map.max((1, 2)))


def test_the_scores_of_a_detector_are_those_of_onnxruntime(exported: Path) -> None:
    artifact = read_artifact(exported)
    batch = photos(artifact.manifest.input.size)
    with OnnxRuntime(artifact, ONE_THREAD) as runtime:
        expected = np.concatenate([runtime.infer(photo[None]).score for photo in batch])
    with OpenVinoRuntime(artifact, ONE_THREAD) as runtime:
        single = np.concatenate([runtime.infer(photo[None]).score for photo in batch])
        together = runtime.infer(batch).score
    tolerance = FP32_TOLERANCE * float(np.ptp(expected))
    np.testing.assert_allclose(single, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(together, expected, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("all_cores")
def test_threads_may_share_one(exported: Path) -> None:
    artifact = read_artifact(exported)
    batch = photos(artifact.manifest.input.size)
    with OpenVinoRuntime(artifact, RuntimeOptions(hint="throughput")) as runtime:
        alone = [runtime.infer(photo[None]).anomaly_map for photo in batch]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: runtime.infer(batch[i % 6][None]), range(48)))
    for index, output in enumerate(found):
        np.testing.assert_array_equal(output.anomaly_map, alone[index % 6])
        assert output.score[0] == output.anomaly_map.max()


def test_it_says_what_is_in_use(tiny_artifact: Make) -> None:
    with OpenVinoRuntime(tiny_artifact(), ONE_THREAD) as runtime:
        info = runtime.describe()
    assert (info.name, info.provider, info.threads) == ("openvino", "CPU", 1)
    assert info.details["precision"] == "f32"
    assert info.details["streams"] == 1
    assert info.details["convolutions"] == {"f32": 1}


def test_a_lower_precision_is_used_or_refused_but_never_ignored(tiny_artifact: Make) -> None:
    for precision in ("bf16", "f16"):
        runtime = OpenVinoRuntime(tiny_artifact(), RuntimeOptions(precision=precision))
        try:
            runtime.open()
        except RuntimeUnavailableError as error:
            reason = str(error)
            assert f"cannot compute in {precision} on this CPU" in reason
        else:
            assert runtime.describe().details["precision"] == precision
            runtime.close()
    with pytest.raises(RuntimeUnavailableError, match="f32 only on a CPU, not in bf16"):
        OnnxRuntime(tiny_artifact(), RuntimeOptions(precision="bf16")).open()


def test_files_for_tensorrt_are_refused(tmp_path: Path) -> None:
    manifest = manifest_for(32, 32, (8, 8)).replace(precision="int8-tensorrt")
    artifact = write_artifact(tmp_path / "tiny.onnx", tiny_model(), manifest)
    with pytest.raises(RuntimeUnavailableError, match="'openvino' cannot open .*for TensorRT"):
        open_runtime(artifact, "openvino")
    with open_runtime(artifact).runtime as runtime:
        assert runtime.name == "onnxruntime"


def test_a_sealed_file_that_it_cannot_load_is_one_sentence(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(tiny_model())
    model.graph.node[2].op_type = "NoSuchOperator"
    artifact = write_artifact(
        tmp_path / "odd.onnx", model.SerializeToString(), manifest_for(32, 32, (8, 8))
    )
    with pytest.raises(ArtifactError, match=r"OpenVINO 20.* cannot load .*odd.onnx") as raised:
        OpenVinoRuntime(artifact).open()
    assert "\n" not in str(raised.value)
    assert "NoSuchOperator" in str(raised.value)


def test_closed_is_closed(tiny_artifact: Make) -> None:
    runtime = OpenVinoRuntime(tiny_artifact(), ONE_THREAD)
    with runtime:
        runtime.infer(photos((32, 32)))
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(photos((32, 32)))


def test_it_is_imported_when_it_is_opened_and_not_before(tiny_artifact: Make) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgead.runtimes import available, open_runtime\n"
        "from edgead.artifact import read_artifact\n"
        "assert available()['openvino'] is None and 'openvino' not in sys.modules\n"
        f"open_runtime(read_artifact({str(tiny_artifact().path)!r}), 'openvino').runtime.close()\n"
        "assert 'openvino' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "close",
    [
        "for detect in opened: detect.close()",
        "for detect in reversed(opened): detect.close()",
        "with ThreadPoolExecutor(1) as pool: list(pool.map(lambda one: one.close(), opened))",
    ],
)
def test_a_signal_after_it_is_closed_reaches_its_handler(close: str, tiny_artifact: Make) -> None:
    # Its plugin gives the thread a stack for signals, and frees it.
    code = (
        "import signal, sys, numpy as np\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from edgead.runtimes import open_runtime\n"
        "from edgead.artifact import read_artifact\n"
        f"artifact = read_artifact({str(tiny_artifact().path)!r})\n"
        "opened = [open_runtime(artifact, 'openvino').runtime for _ in range(2)]\n"
        "for detect in opened: detect.infer(np.zeros((3, 32, 32, 3), np.uint8))\n"
        f"{close}\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "signal.raise_signal(signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 7
