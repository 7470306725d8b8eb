"""A result as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from edgead.benchmarks.result import Result
from edgead.benchmarks.sensors.base import MISSING
from edgead.benchmarks.statistics import SAMPLES_FOR, summarise
from edgead.printable import printable

_LABEL = 12
_WIDTH = 100
_STAGES = ("preprocess", "host_to_device", "inference", "device_to_host", "postprocess")
_PERCENTILES = {"p90": 90.0, "p95": 95.0, "p99": 99.0}


def table(result: Result) -> str:
    """Return a result as text."""
    lines = [*head(result), "", *_stages(result), ""]
    for label, text in (
        ("throughput", _throughput(result)),
        ("windows", windows(result)),
        ("camera", camera(result)),
        ("start", _start(result)),
        ("memory", memory(result)),
        ("stability", stability(result)),
        ("CPU", cpu(result)),
        ("temperature", temperature(result)),
        ("clock", clock(result)),
        ("throttling", throttling(result)),
        ("power", power(result)),
        ("verdict", result["verdict"]),
    ):
        lines += entry(label, text)
    for reason in result["invalid_because"]:
        lines += entry("", f"- {reason}")
    for note in result["notes"]:
        lines += entry("note", note)
    return "\n".join(lines)


def head(result: Result) -> list[str]:
    """Return what was measured, on what, and how."""
    return [
        *entry("edgead bench", what(result)),
        *entry("artifact", artifact(result)),
        *entry("device", result["device"]["line"]),
        *entry("protocol", protocol(result)),
    ]


def what(result: Result) -> str:
    """Name the detector, its input and what really ran it."""
    runtime, threads = result["runtime"], result["runtime"]["threads"]
    height, width = result["artifact"]["input_size"]
    parts = [
        f"{result['artifact']['name']} · {width}x{height}",
        f"{runtime['name']} {runtime['version']} ({runtime['provider']})",
        *([f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []),
        *_choices(runtime["details"]),
    ]
    return " · ".join(parts)


def _choices(details: Mapping[str, Any]) -> list[str]:
    """Say in what arithmetic and for what aim a runtime really ran, where it says so."""
    precision, hint, streams = (details.get(key) for key in ("precision", "hint", "streams"))
    aim = f"for {hint}"
    if streams is not None:
        aim += f" in {streams} stream{'' if streams == 1 else 's'}"
    return [
        *([f"float layers in {precision}"] if precision else []),
        *([aim] if hint else []),
    ]


def artifact(result: Result) -> str:
    """Name the file."""
    of = result["artifact"]
    return f"{of['file']} · {of['size_bytes'] / 1e6:.2f} MB · sha256 {of['sha256'][:12]}"


def protocol(result: Result) -> str:
    """Say how it was measured."""
    config = result["config"]
    height, width = result["frame_size"]
    frames = "photos" if config["images"] else "generated frames"
    sizes = "" if config["frame_sizes"] == 1 else f"{config['frame_sizes']} sizes, first "
    scenario = {
        "multi-stream": f"multi-stream, {config['streams']} cameras",
        "offline": f"offline, batches of {config['batch']}",
    }.get(config["scenario"], config["scenario"])
    parts = [
        scenario,
        *([f"at {config['camera_fps']:g} FPS each"] if config["camera_fps"] else []),
        f"{frames} of {sizes}{width}x{height} px",
        *([f"cool-down {config['cooldown_s']:g} s"] if config["cooldown_s"] else []),
        f"warm-up {result['warm_up_frames']} calls",
        f"at least {config['duration_s']:g} s and {config['samples']} samples",
        f"n = {result['samples']:,}".replace(",", " "),
    ]
    return " · ".join(parts)


def _stages(result: Result) -> list[str]:
    unit = "ms" if result["frames_per_call"] == 1 else f"ms / {result['frames_per_call']} frames"
    lines = [
        f"{unit:16}" + "".join(f"{c:>10}" for c in ("mean", "p50", "p90", "p95", "p99", "max"))
    ]
    raw = result["raw_ms"]
    rows = [(name.replace("_", " "), raw[name]) for name in _STAGES if raw[name] is not None]
    whole = "whole frame" if result["frames_per_call"] == 1 else "whole batch"
    for label, values in (*rows, (whole, raw["total"])):
        lines.append(f"{label:16}" + "".join(f"{cell:>10}" for cell in cells(values)))
    missing = [
        f"{name} takes {SAMPLES_FOR[rank]} samples"
        for name, rank in _PERCENTILES.items()
        if result["latency_ms"][name] is None
    ]
    if missing:
        needed = max(
            SAMPLES_FOR[rank]
            for name, rank in _PERCENTILES.items()
            if result["latency_ms"][name] is None
        )
        lines.append(f"{'':16}{', '.join(missing)} (--samples {needed})")
    return lines


def cells(values: Sequence[float]) -> list[str]:
    """Return mean, p50, p90, p95, p99 and maximum of a stage, as far as the samples support."""
    stage = summarise(values)
    found = (stage.mean, stage.p50, stage.p90, stage.p95, stage.p99, stage.maximum)
    return ["n/a" if cell is None else milliseconds(cell) for cell in found]


def milliseconds(value: float) -> str:
    """Write a time with the digits that mean something."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _throughput(result: Result) -> str:
    config = result["config"]
    if config["camera_fps"] or config["streams"] > 1:
        each = (
            f", {result['fps'] / config['streams']:.1f} a camera" if config["streams"] > 1 else ""
        )
        return f"{result['fps']:.1f} FPS{each} (whole frames scored in the time it took)"
    if config["batch"] > 1:
        return f"{result['fps']:.1f} FPS ({config['batch']} frames / mean of whole batches)"
    return f"{result['fps']:.1f} FPS (1000 / mean of whole frames)"


def windows(result: Result) -> str | None:
    """Say how many windows of a frame the network saw; ``None`` for one."""
    count = result.get("windows_per_frame", 1)  # results of earlier versions have no windows
    if count == 1:
        return None
    return f"{count} windows a frame, {milliseconds(result['window_ms'])} ms of inference each"


def camera(result: Result) -> str | None:
    """Say whether the detector keeps up with its cameras."""
    seen = result["camera"]
    if seen is None:
        return None
    frames = f"of {seen['frames']} frames"
    counts = f"{seen['late']} late and {seen['dropped']} dropped {frames}"
    keeps = "keeps up" if seen["keeps_up"] else "does not keep up"
    age = (
        f"result {seen['age_p50_ms']:.1f} ms after a frame (median), "
        f"{seen['age_max_ms']:.1f} at most"
    )
    return f"{keeps} with {seen['fps']:g} FPS: {counts}; {age}"


def _start(result: Result) -> str:
    return (
        f"loaded in {result['load_ms']:.0f} ms · first inference "
        f"{milliseconds(result['first_inference_ms'])} ms"
    )


def memory(result: Result) -> str:
    """Say what a process that only predicts takes."""
    rss, gpu = result["peak_rss_mib"], result["peak_gpu_mib"]
    parts = [
        "not measured" if rss is None else f"{rss:.0f} MiB peak of a process that only predicts"
    ]
    if result["on_gpu"]:
        parts.append("GPU: not available" if gpu is None else f"GPU {gpu:.0f} MiB")
    return " · ".join(parts)


def stability(result: Result) -> str:
    """Say how steady the latencies were, and what measuring cost."""
    return (
        f"variation {result['variation']:.1%} · last third {result['drift']:+.1%} against the "
        f"first · measuring took {result['own_cost']:.2%}"
    )


def cpu(result: Result) -> str:
    """Say who used the CPU."""
    load = result["cpu"]
    if load is None:
        return "not available: the kernel shows no /proc/stat"
    stolen = f" · taken by the host {load['stolen']:.0%}" if load["stolen"] >= 0.005 else ""
    own, others = f"this benchmark {load['own']:.0%}", f"other programs {load['others']:.0%}"
    return f"{own} of all cores · {others}{stolen}"


def temperature(result: Result) -> str:
    """Say how hot it got."""
    seen = result["sensors"]["temperature_c"]
    if seen is None:
        return _missing(result, "temperature")
    start, end, most = (f"{seen[key]:.1f}" for key in ("start", "end", "max"))
    return f"{start} °C at the start · {end} at the end · {most} at most ({seen['source']})"


def clock(result: Result) -> str:
    """Say how fast the clock was."""
    seen = result["sensors"]["clock_mhz"]
    if seen is None:
        return _missing(result, "clock")
    limit = f" of {seen['limit']:.0f}" if seen["limit"] else ""
    return (
        f"{seen['mean']:.0f} MHz on average, {seen['min']:.0f} at least{limit} ({seen['source']})"
    )


def throttling(result: Result) -> str:
    """Say what held the machine back."""
    seen = result["sensors"]["throttling"]
    if seen is None:
        return _missing(result, "throttling")
    return "; ".join(seen["events"]) or "none"


def power(result: Result) -> str:
    """Say what a frame costs."""
    seen = result["sensors"]["power"]
    if seen is None:
        return _missing(result, "power")
    if seen["load_w"] is None:
        return f"not available: {seen['readings']} readings are too few; measure for 10 s or more"
    parts = [
        *([f"idle {seen['idle_w']:.2f} W"] if seen["idle_w"] is not None else []),
        f"load {seen['load_w']:.2f} W",
        f"{seen['frame_mj']:.1f} mJ a frame",
        *([f"{seen['frame_net_mj']:.1f} above idle"] if seen["frame_net_mj"] is not None else []),
    ]
    if seen["estimate"]:
        parts.append(f"{seen['estimate']['label']}: {seen['estimate']['load_w']:.2f} W")
    return " · ".join(parts) + f" ({seen['source']})"


def _missing(result: Result, kind: str) -> str:
    return f"not available: {result['not_available'].get(kind, MISSING)}"


def wrapped(text: str) -> list[str]:
    """Break a text into lines of the report's width."""
    return textwrap.wrap(printable(text), _WIDTH, break_on_hyphens=False)


def entry(label: str, text: str | None) -> list[str]:
    """Return a label with its text, wrapped; nothing where there is none."""
    if text is None:
        return []
    body = textwrap.wrap(printable(text), _WIDTH - _LABEL - 1, break_on_hyphens=False) or [""]
    return [
        f"{label if first else '':{_LABEL}} {line}".rstrip()
        for first, line in zip([True] + [False] * len(body), body, strict=False)
    ]
