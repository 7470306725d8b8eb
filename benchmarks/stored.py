"""What a result must look like to be read again: types, lengths and bounds.

Reports, comparisons and repetitions take a result as it was made here. One that comes from a file
may be damaged, or made by somebody who means harm, so it is checked before any of them sees it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgead import strict_json
from edgead.benchmarks.result import SCHEMA, Result
from edgead.errors import UsageError
from edgead.strict_json import Source

_AGAIN = "measure again with: edgead bench ARTIFACT --json FILE"
_MOST_BYTES = 64 << 20
_MOST_RESULTS = 1000
_MOST_TEXT = 4096
_LARGEST = 1e12
_MILLISECONDS = (1e-6, 1e9)

_REPEATED = {
    "threads": (1, 1024),
    "batch": (1, 256),
    "streams": (1, 64),
    "camera_fps": (1e-3, 1e4),
    "duration_s": (1e-3, 3600),
    "samples": (1, 1_000_000),
    "cooldown_s": (0, 3600),
}
"""What a repetition takes from a file. Whoever wants more gives it as options."""

_MOST_PIXELS = 50_000_000
_MOST_IMAGES = 10_000


@dataclass(frozen=True)
class _Artifact:
    file: str
    path: str
    sha256: str
    name: str
    model: str
    precision: str
    input_size: tuple[int, int]
    size_bytes: int


@dataclass(frozen=True)
class _Configuration:
    scenario: Literal["single stream", "multi-stream", "offline"]
    runtime: str
    threads: int | None
    batch: int
    streams: int
    camera_fps: float | None
    duration_s: float
    samples: int
    cooldown_s: float
    images: tuple[str, ...] | None
    frame_size: tuple[int, int]
    frame_sizes: int
    set_governor: str | None
    # Files of earlier versions have neither.
    precision: Literal["f32", "bf16", "f16"] | None = None
    hint: Literal["latency", "throughput"] | None = None


@dataclass(frozen=True)
class _Latency:
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class _Stages:
    preprocess: float | None
    host_to_device: float | None
    inference: float | None
    device_to_host: float | None
    postprocess: float | None


@dataclass(frozen=True)
class _Camera:
    fps: float
    frames: int
    late: int
    dropped: int
    keeps_up: bool
    age_p50_ms: float
    age_max_ms: float


@dataclass(frozen=True)
class _Load:
    own: float
    others: float
    stolen: float
    throttled: float = 0.0


@dataclass(frozen=True)
class _Temperature:
    source: str | None
    start: float
    end: float
    max: float


@dataclass(frozen=True)
class _Clock:
    source: str
    mean: float
    min: float
    limit: float | None


@dataclass(frozen=True)
class _Throttling:
    events: tuple[str, ...]


@dataclass(frozen=True)
class _Estimate:
    label: str
    load_w: float


@dataclass(frozen=True)
class _Power:
    source: str
    readings: int
    idle_w: float | None
    load_w: float | None
    frame_mj: float | None
    frame_net_mj: float | None
    estimate: _Estimate | None


@dataclass(frozen=True)
class _Sensors:
    temperature_c: _Temperature | None
    clock_mhz: _Clock | None
    throttling: _Throttling | None
    power: _Power | None


@dataclass(frozen=True)
class _Reason:
    code: str
    cause: str
    advice: str


@dataclass(frozen=True)
class _Runtime:
    name: str
    version: str
    provider: str
    threads: int | None
    details: dict[str, Any]
    # Files of earlier versions lack it.
    device_kind: Literal["cpu", "gpu", "npu"] | None = None


@dataclass(frozen=True)
class _Device:
    board: str | None
    cpu: str
    line: str
    packages: dict[str, str]


@dataclass(frozen=True)
class _Raw:
    started_s: tuple[float, ...]
    total: tuple[float, ...]
    preprocess: tuple[float, ...] | None
    host_to_device: tuple[float, ...] | None
    inference: tuple[float, ...] | None
    device_to_host: tuple[float, ...] | None
    postprocess: tuple[float, ...] | None


@dataclass(frozen=True)
class _Sensor:
    kind: str
    name: str
    unit: str
    limit: float | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class _Timeline:
    times_s: tuple[float, ...]
    sensors: tuple[_Sensor, ...]
    hottest_c: tuple[float | None, ...]
    throttled: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Stored:
    edgead_version: str
    artifact: _Artifact
    config: _Configuration
    latency_ms: _Latency
    frames_per_call: int
    fps: float
    stages_ms: _Stages
    camera: _Camera | None
    first_inference_ms: float
    load_ms: float
    warm_up_frames: int
    peak_rss_mib: float | None
    peak_gpu_mib: float | None
    samples: int
    variation: float
    drift: float
    own_cost: float
    cpu: _Load | None
    sensors: _Sensors
    not_available: dict[str, str]
    verdict: Literal["VALID", "INVALID"]
    invalid_because: tuple[str, ...]
    reasons: tuple[_Reason, ...]
    notes: tuple[str, ...]
    runtime: _Runtime
    on_gpu: bool
    device: _Device
    frame_size: tuple[int, int]
    raw_ms: _Raw
    timeline: _Timeline


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """Read what ``edgead bench --json`` wrote: one result, or those of a folder.

    Raises:
        UsageError: Not such a file, one of another schema, or a result in it that cannot be;
            names both sides.
    """
    path = Path(path)
    source = Source(str(path), UsageError, _AGAIN)
    data = strict_json.read(path, UsageError, _AGAIN, _MOST_BYTES)
    if not isinstance(data, dict) or "schema" not in data:
        source.fail("was not written by 'edgead bench --json'")
    schema = strict_json.build(int, data["schema"], source, "schema")
    if schema > SCHEMA:
        raise UsageError(
            f"{path} has schema {schema}, but this version of edgead reads schema {SCHEMA}: "
            "upgrade edgead here (pip install -U edgead)"
        )
    if schema != SCHEMA:
        source.fail(f"has schema {schema}, but this version of edgead reads schema {SCHEMA}")
    results = strict_json.build(list[Any], data.get("results", [data]), source, "results")
    if not 1 <= len(results) <= _MOST_RESULTS:
        source.fail("holds no results" if not results else f"holds {len(results)} results")
    for result in results:
        _check(strict_json.build(_Stored, result, source), result, source)
    return results


def require_repeatable(result: Result, path: str | os.PathLike[str]) -> None:
    """Check that a measurement of somebody else can be repeated within reason.

    Raises:
        UsageError: It would take too long, too many threads or too much memory.
    """
    source = Source(os.fspath(path), UsageError, "give the settings as options instead of --rerun")
    config = result["config"]
    for key, (low, high) in _REPEATED.items():
        value = config[key]
        if value is not None and not low <= value <= high:
            source.fail(f"has {key} {value}, but a repetition accepts {low:g} to {high:g}")
    height, width = config["frame_size"]
    if not (height >= 1 and width >= 1 and height * width <= _MOST_PIXELS):
        source.fail(
            f"has frames of {width}x{height} px, but a repetition accepts at most {_MOST_PIXELS:,} "
            "pixels"
        )
    if config["images"] is not None and not 1 <= len(config["images"]) <= _MOST_IMAGES:
        source.fail(f"has {len(config['images'])} photos, which is none or too many")


def _check(stored: _Stored, result: Result, source: Source) -> None:
    """Check what the types of a result cannot say."""
    for key, value in _leaves(result, ""):
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            source.fail(f"has {len(value):,} characters in '{key}' (limit: {_MOST_TEXT})")
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            source.fail(f"has '{key}' = {value}, which is impossible")
    if (stored.verdict == "VALID") != (not stored.reasons and not stored.invalid_because):
        source.fail(f"has the verdict {stored.verdict}, which contradicts its reasons")
    if not (stored.fps > 0 and stored.frames_per_call >= 1 and stored.config.streams >= 1):
        source.fail("has no frames in it")
    raw, times = stored.raw_ms, stored.timeline.times_s
    if not raw.total:
        source.fail("has no latencies in 'raw_ms.total'")
    least, most = _MILLISECONDS
    _within(source, "raw_ms.total", raw.total, least, most)
    _within(source, "raw_ms.started_s", raw.started_s, 0, most)
    _within(source, "latency_ms", (stored.latency_ms.mean, stored.latency_ms.p50), least, most)
    for key, values, count in (
        ("raw_ms.started_s", raw.started_s, len(raw.total)),
        ("raw_ms.preprocess", raw.preprocess, len(raw.total)),
        ("raw_ms.host_to_device", raw.host_to_device, len(raw.total)),
        ("raw_ms.inference", raw.inference, len(raw.total)),
        ("raw_ms.device_to_host", raw.device_to_host, len(raw.total)),
        ("raw_ms.postprocess", raw.postprocess, len(raw.total)),
        ("timeline.throttled", stored.timeline.throttled, len(times)),
        ("timeline.hottest_c", stored.timeline.hottest_c or None, len(times)),
        *((f"timeline.sensors {s.name}", s.values, len(times)) for s in stored.timeline.sensors),
    ):
        if values is not None and len(values) != count:
            source.fail(f"has {len(values)} values in '{key}', expected {count}")


def _within(source: Source, key: str, values: Sequence[float], least: float, most: float) -> None:
    if values and (min(values) < least or max(values) > most):
        source.fail(f"has values in '{key}' that are not from {least:g} to {most:g}")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield key, name
            yield from _leaves(entry, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry, key)
    else:
        yield key, value
