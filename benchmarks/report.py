"""A measurement as a text table and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

import edgead
from edgead.artifact import Artifact
from edgead.benchmarks.protocol import Measurement
from edgead.benchmarks.statistics import summarise


def to_json(measurement: Measurement, artifact: Artifact, peak_rss_mib: float) -> dict[str, Any]:
    """Return the keys that scripts may rely on, and every raw latency."""
    summary, info = measurement.summary, measurement.runtime
    return {
        "schema": 1,
        "edgead_version": edgead.__version__,
        "artifact": {
            "file": artifact.path.name,
            "sha256": artifact.sha256,
            "model": artifact.manifest.model.name,
            "precision": artifact.manifest.precision,
            "size_bytes": artifact.size_bytes,
        },
        "latency_ms": {
            "p50": summary.p50,
            "p90": summary.p90,
            "p95": summary.p95,
            "p99": summary.p99,
            "mean": summary.mean,
            "max": summary.maximum,
        },
        "fps": summary.fps,
        "stages_ms": {
            "preprocess": float(np.mean(measurement.preprocess_ms)),
            "inference": float(np.mean(measurement.inference_ms)),
            "postprocess": float(np.mean(measurement.postprocess_ms)),
        },
        "first_inference_ms": measurement.first_inference_ms,
        "load_ms": measurement.load_ms,
        "peak_rss_mib": peak_rss_mib,
        "samples": summary.samples,
        "variation": summary.variation,
        "drift": summary.drift,
        "verdict": "INVALID" if measurement.invalid_because else "VALID",
        "invalid_because": measurement.invalid_because,
        "runtime": vars(info),
        "device": {
            "cpu": info.device,
            "machine": platform.machine(),
            "system": platform.platform(),
        },
        "frame_size": list(measurement.frame_size),
        "raw_ms": {
            "total": list(measurement.total_ms),
            "preprocess": list(measurement.preprocess_ms),
            "inference": list(measurement.inference_ms),
        },
    }


def table(measurement: Measurement, artifact: Artifact, peak_rss_mib: float) -> str:
    """Return the measurement as text."""
    info, summary = measurement.runtime, measurement.summary
    height, width = measurement.frame_size
    rows: list[tuple[str, Sequence[float]]] = [
        ("preprocess", measurement.preprocess_ms),
        ("inference", measurement.inference_ms),
        ("postprocess", measurement.postprocess_ms),
        ("whole frame", measurement.total_ms),
    ]
    lines = [
        f"{artifact.manifest.name} · {info.name} {info.version} · {info.provider} · "
        f"{info.threads} threads · {info.device}",
        f"single stream, {width}x{height} px frames, {summary.samples} samples after "
        f"{measurement.warm_up_frames} warm-up frames",
        "",
        f"{'ms':12}{'mean':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
    ]
    for label, values in rows:
        stage = summarise(values)
        cells = (stage.mean, stage.p50, stage.p90, stage.p99, stage.maximum)
        lines.append(
            f"{label:12}" + "".join(f"{'-' if c is None else format(c, '.2f'):>9}" for c in cells)
        )
    lines += [
        "",
        f"FPS          {summary.fps:.1f} (1000 / mean of whole frames)",
        f"start        loaded in {measurement.load_ms:.0f} ms, first frame "
        f"{measurement.first_inference_ms:.1f} ms",
        f"memory       {peak_rss_mib:.0f} MiB peak of a process that only predicts",
        f"stability    variation {summary.variation:.1%}, last third {summary.drift:+.1%} "
        "against the first",
        f"verdict      {'INVALID' if measurement.invalid_because else 'VALID'}",
        *(f"             {reason}" for reason in measurement.invalid_because),
    ]
    return "\n".join(lines)
