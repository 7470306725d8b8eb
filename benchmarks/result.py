"""A measurement as the JSON that scripts, reports, comparisons and repetitions read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

import edgead
from edgead.artifact import Artifact
from edgead.benchmarks.device import Device
from edgead.benchmarks.measure import Measurement
from edgead.benchmarks.memory import Peak
from edgead.benchmarks.request import Request
from edgead.benchmarks.sensors.sampler import Series
from edgead.benchmarks.verdict import Verdict, judge
from edgead.view import View

SCHEMA = 2
"""Schema number of a result. Schema 1 had no sensors, configuration or stages of a device; it
cannot be read again."""

Result: TypeAlias = dict[str, Any]

_LEAST_POWER_READINGS = 3


def to_result(
    measurement: Measurement,
    artifact: Artifact,
    peak: Peak | None,
    device: Device,
    request: Request | None = None,
) -> Result:
    """Return the keys that scripts may rely on, and every raw latency."""
    request = request or Request(measurement.protocol)
    summary, samples = measurement.summary, measurement.samples
    verdict = judge(measurement, device)
    windows = len(View.of(artifact.manifest).places)
    stages = {
        "preprocess": samples.preprocess_ms,
        "host_to_device": samples.host_to_device_ms,
        "inference": samples.inference_ms,
        "device_to_host": samples.device_to_host_ms,
        "postprocess": samples.postprocess_ms,
    }
    return {
        "schema": SCHEMA,
        "kind": "edgead bench",
        "edgead_version": edgead.__version__,
        "artifact": {
            "file": artifact.path.name,
            "path": str(artifact.path.absolute()),
            "sha256": artifact.sha256,
            "name": artifact.manifest.name,
            "model": artifact.manifest.model.name,
            "precision": artifact.manifest.precision,
            "input_size": list(artifact.manifest.input.size),
            "size_bytes": artifact.size_bytes,
        },
        "config": {
            **measurement.protocol.to_config(),
            "runtime": measurement.runtime.name,
            **request.to_config(),
            "frame_size": list(measurement.frame_sizes[0]),
            "frame_sizes": len(measurement.frame_sizes),
        },
        "latency_ms": {
            "p50": summary.p50,
            "p90": summary.p90,
            "p95": summary.p95,
            "p99": summary.p99,
            "p99.9": summary.p99_9,
            "mean": summary.mean,
            "min": summary.minimum,
            "max": summary.maximum,
        },
        "frames_per_call": samples.frames_each,
        "windows_per_frame": windows,
        "window_ms": float(np.mean(samples.inference_ms)) / samples.frames_each / windows,
        "fps": measurement.fps,
        "stages_ms": {
            name: None if values is None else float(np.mean(values))
            for name, values in stages.items()
        },
        "camera": _camera(measurement),
        "first_inference_ms": measurement.first_inference_ms,
        "load_ms": measurement.load_ms,
        "warm_up_frames": measurement.warm_up_frames,
        "peak_rss_mib": peak.rss_mib if peak else None,
        "peak_gpu_mib": peak.gpu_mib if peak and measurement.on_gpu else None,
        "samples": summary.samples,
        "variation": summary.variation,
        "drift": summary.drift,
        "own_cost": measurement.own_cost,
        "cpu": vars(measurement.cpu) if measurement.cpu else None,
        "sensors": _sensors(measurement),
        "not_available": dict(measurement.timeline.missing or {}),
        "verdict": str(verdict),
        "invalid_because": [str(reason) for reason in verdict.reasons],
        "reasons": _reasons(verdict),
        "notes": list(verdict.notes),
        "runtime": vars(measurement.runtime),
        "on_gpu": measurement.on_gpu,
        "device": {**device.to_json(), "line": device.line},
        "frame_size": list(measurement.frame_sizes[0]),
        "raw_ms": {
            "started_s": _rounded(samples.started_s),
            "total": _rounded(samples.total_ms),
            **{
                name: None if values is None else _rounded(values)
                for name, values in stages.items()
            },
            "age": _rounded(samples.camera.age_ms) if samples.camera else None,
        },
        "timeline": _timeline(measurement),
    }


def _camera(measurement: Measurement) -> dict[str, Any] | None:
    camera = measurement.samples.camera
    if camera is None:
        return None
    return {
        "fps": measurement.protocol.camera_fps,
        "frames": camera.frames,
        "late": camera.late,
        "dropped": camera.dropped,
        "keeps_up": camera.keeps_up,
        "age_p50_ms": float(np.median(camera.age_ms)),
        "age_max_ms": float(max(camera.age_ms)),
    }


def _sensors(measurement: Measurement) -> dict[str, Any]:
    timeline, on_gpu = measurement.timeline, measurement.on_gpu
    hot = [degrees for degrees in timeline.hottest() if degrees is not None]
    clock, power = timeline.clock(on_gpu), timeline.power(on_gpu)
    return {
        "temperature_c": (
            {
                "source": timeline.hottest_name(),
                "start": hot[0],
                "end": hot[-1],
                "max": max(hot),
            }
            if hot
            else None
        ),
        "clock_mhz": _clock(clock) if clock else None,
        "throttling": (
            {"events": list(timeline.events), "before": list(timeline.history)}
            if timeline.watched
            else None
        ),
        "power": _power(measurement, power) if power else None,
    }


def _clock(series: Series) -> dict[str, Any]:
    known = series.known[1:] or series.known
    return {
        "source": series.sensor.name,
        "mean": float(np.mean(known)),
        "min": min(known),
        "limit": series.sensor.limit,
    }


def _power(measurement: Measurement, series: Series) -> dict[str, Any]:
    # The first reading is from before the first frame.
    loaded = series.known[1:]
    enough = len(loaded) >= _LEAST_POWER_READINGS
    load = float(np.mean(loaded)) if enough else None
    idle = measurement.idle_watts.get(series.sensor.name)
    seconds = measurement.samples.wall_s / measurement.frames
    estimate = series.sensor.estimate
    return {
        "source": series.sensor.name,
        "readings": len(loaded),
        "idle_w": idle,
        "load_w": load,
        "max_w": max(loaded) if enough else None,
        "frame_mj": None if load is None else load * seconds * 1e3,
        "frame_net_mj": (None if load is None or idle is None else (load - idle) * seconds * 1e3),
        "estimate": (
            {"label": estimate.label, "load_w": estimate.of(load)}
            if estimate and load is not None
            else None
        ),
    }


def _reasons(verdict: Verdict) -> list[dict[str, str]]:
    return [vars(reason) for reason in verdict.reasons]


def _timeline(measurement: Measurement) -> dict[str, Any]:
    timeline = measurement.timeline
    return {
        "times_s": _rounded(timeline.times),
        "sensors": [
            {
                "kind": series.sensor.kind.value,
                "part": series.sensor.part.value,
                "name": series.sensor.name,
                "unit": series.sensor.kind.unit,
                "limit": series.sensor.limit,
                "values": list(series.values),
            }
            for series in timeline.series
        ],
        "hottest_c": list(timeline.hottest()),
        "throttled": [sorted(flags) for flags in timeline.throttled],
    }


def _rounded(values: Sequence[float]) -> list[float]:
    # A tenth of a microsecond is below what the clock and the loop can tell apart.
    return [round(value, 4) for value in values]
