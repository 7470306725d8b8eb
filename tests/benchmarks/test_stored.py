"""Results that somebody else made: what is in them, and what they ask for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgead.artifact import Artifact
from edgead.benchmarks import html_report, report
from edgead.benchmarks.compare import Comparison
from edgead.benchmarks.device import Device
from edgead.benchmarks.memory import Peak
from edgead.benchmarks.result import Result, to_result
from edgead.benchmarks.stored import read_results, require_repeatable
from edgead.errors import UsageError
from tests.benchmarks.test_golden import healthy, throttled_pi
from tests.conftest import manifest_for
from tests.pages import HOSTILE, require_harmless_page


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return _result(healthy, tmp_path / "machine")


def _result(machine: Callable[[Path], Any], root: Path) -> Result:
    root.mkdir()
    measured, system = machine(root)
    artifact = Artifact(Path("tiny.onnx"), manifest_for(32, 32, (8, 8)), "3f9c" * 16, 2_840_000)
    found = to_result(measured, artifact, Peak(121.4, None), Device.of(system))
    copied: Result = json.loads(json.dumps(found))
    return copied


def _written(tmp_path: Path, result: Any) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result))
    return path


@pytest.mark.parametrize("machine", [healthy, throttled_pi])
def test_what_was_measured_here_is_read(machine: Callable[[Path], Any], tmp_path: Path) -> None:
    result = _result(machine, tmp_path / "machine")
    assert read_results(_written(tmp_path, result)) == [result]
    require_repeatable(result, "a.json")


def test_a_file_of_a_version_before_the_kind_of_device_is_read(
    result: Result, tmp_path: Path
) -> None:
    older = copy.deepcopy(result)
    del older["runtime"]["device_kind"]
    assert read_results(_written(tmp_path, older)) == [older]


_FREE = ("artifact", "device", "not_available", "runtime", "notes", "sensors", "timeline")


def _with_hostile_text(value: Any) -> Any:
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, dict):
        return {key: _with_hostile_text(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_hostile_text(entry) for entry in value]
    return value


def test_foreign_text_stays_text_on_pages_and_terminals(result: Result, tmp_path: Path) -> None:
    foreign = {
        **result,
        **{key: _with_hostile_text(result[key]) for key in _FREE},
        "edgead_version": HOSTILE,
        "verdict": "INVALID",
        "invalid_because": [HOSTILE],
        "reasons": [{"code": HOSTILE, "cause": HOSTILE, "advice": HOSTILE}],
    }
    foreign["runtime"]["device_kind"] = result["runtime"]["device_kind"]  # one of three words
    for sensor, honest in zip(
        foreign["timeline"]["sensors"], result["timeline"]["sensors"], strict=True
    ):
        sensor["kind"] = honest["kind"]  # so that it is drawn
    (read,) = read_results(_written(tmp_path, foreign))
    comparison = Comparison.of_runs([result, read])
    html_report.write_result(tmp_path / "a.html", read)
    html_report.write_comparison(tmp_path / "b.html", comparison)
    for page in ("a.html", "b.html"):
        require_harmless_page((tmp_path / page).read_text())
    for text in (report.table(read), comparison.table(), "\n".join(comparison.reasons())):
        assert "\x1b" not in text
        assert not any(line.startswith("# forged") for line in text.splitlines())


def _set(result: Result, key: str, value: Any) -> Result:
    changed = copy.deepcopy(result)
    *parents, last = key.split("__")
    target = changed
    for parent in parents:
        target = target[parent]
    if value is KeyError:
        del target[last]
    else:
        target[last] = value
    return changed


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("verdict", "<script>alert(1)</script>", "only 'VALID' or 'INVALID' is allowed"),
        ("verdict", "INVALID", "which contradicts its reasons"),
        ("latency_ms", {}, "lacks the key 'latency_ms.p50'"),
        ("latency_ms__p50", "1", "expected float, found str"),
        ("raw_ms__total", [], "has no latencies"),
        ("raw_ms__total", [0.0], "has values in 'raw_ms.total'"),
        ("raw_ms__started_s", [1.0], "has 1 values in 'raw_ms.started_s', expected"),
        ("raw_ms__started_s", [], "has 0 values in 'raw_ms.started_s', expected"),
        ("raw_ms__inference", [[1.0]], r"'raw_ms.inference\[0\]' of the wrong type"),
        ("timeline__throttled", [], "'timeline.throttled'"),
        ("timeline__times_s", None, "expected a list"),
        ("artifact__input_size", [1, 2, 3], "has 3 values in 'artifact.input_size', expected 2"),
        ("artifact__sha256", 5, "expected str, found int"),
        ("runtime__details", [], "expected an object"),
        ("device__packages", {"a": {}}, "device.packages.a"),
        ("fps", 0.0, "no frames"),
        ("fps", 1e300, "which is impossible"),
        ("notes", ["n" * 5000], "5,000 characters in 'notes'"),
        ("config__scenario", "forged", "is allowed"),
        ("config__images", "all", "expected a list"),
        ("camera", 1, "expected an object"),
        ("reasons", [{}], "reasons"),
        ("stages_ms", KeyError, "lacks the key 'stages_ms'"),
    ],
)
def test_a_wrong_result_is_refused_by_its_key(
    result: Result, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    path = _written(tmp_path, _set(result, key, value))
    with pytest.raises(UsageError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)
    assert "edgead bench" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threads", 99_999_999_999),
        ("threads", 0),
        ("batch", 10**9),
        ("streams", 100_000),
        ("camera_fps", 1e-300),
        ("duration_s", 1e9),
        ("duration_s", -1.0),
        ("samples", 10**12),
        ("cooldown_s", 1e9),
        ("frame_size", [100_000, 100_000]),
        ("frame_size", [0, 5]),
        ("images", []),
        ("images", ["a.png"] * 10_001),
    ],
)
def test_a_repetition_is_within_reason(result: Result, key: str, value: Any) -> None:
    with pytest.raises(UsageError, match="as options instead of --rerun"):
        require_repeatable(_set(result, f"config__{key}", value), "a.json")


def test_a_sensor_that_never_answered_is_not_drawn(result: Result, tmp_path: Path) -> None:
    for sensor in result["timeline"]["sensors"]:
        sensor["values"] = [None] * len(sensor["values"])
    (read,) = read_results(_written(tmp_path, result))
    assert "<svg" in html_report.result_body(read, "bench")
