"""A result, or several side by side, as one self-contained HTML page."""

from __future__ import annotations

import html
import itertools
import os

from edgead import page
from edgead.benchmarks import charts, report
from edgead.benchmarks.compare import Comparison
from edgead.benchmarks.result import Result

_STAGES = ("preprocess", "host_to_device", "inference", "device_to_host", "postprocess")


def write_result(path: str | os.PathLike[str], result: Result) -> None:
    """Write the page of one result."""
    name = result["artifact"]["name"]
    page.write(path, f"edgead bench: {name}", result_body(result, f"edgead bench: {name}"))


def write_comparison(path: str | os.PathLike[str], comparison: Comparison) -> None:
    """Write the page of results side by side, with the details of each below."""
    rows = [
        (f"{column.label}", column.ratio.value, column.ratio.low, column.ratio.high)
        for column in comparison.columns
    ]
    head, *body = comparison.cells()
    parts = [
        "<h1>edgead bench: side by side</h1>",
        "<h2>Latency of a frame against the first</h2>",
        charts.ratio_bars(rows),
        f"<p class='soft'>{_escape(comparison.method)}</p>",
        "<h2>Figures</h2>",
        "<div class='tight'>",
        page.table([_escape(cell) for cell in head], [[_escape(c) for c in row] for row in body]),
        "</div>",
        *(
            f"<div style='height:40px'></div>{result_body(column.result, column.label)}"
            for column in comparison.columns
        ),
    ]
    style = (
        ".tight { font-size: 14px; } .tight td { white-space: nowrap; }"
        ".tight td:first-child, .tight td:last-child { white-space: normal; text-align: left; }"
    )
    page.write(path, "edgead bench: side by side", "\n".join(parts), style)


def result_body(result: Result, heading: str) -> str:
    """Return what a page shows of one result, as HTML."""
    latency, valid = result["latency_ms"], result["verdict"] == "VALID"
    figures = [
        ("verdict", f"<span class='{'good' if valid else 'bad'}'>{result['verdict']}</span>"),
        ("frames a second", f"{result['fps']:.1f}"),
        ("median", f"{report.milliseconds(latency['p50'])} ms"),
        *([("p90", f"{report.milliseconds(latency['p90'])} ms")] if latency["p90"] else []),
        *([("p99", f"{report.milliseconds(latency['p99'])} ms")] if latency["p99"] else []),
        *([("memory", f"{result['peak_rss_mib']:.0f} MiB")] if result["peak_rss_mib"] else []),
    ]
    reasons = "".join(f"<p class='bad'>{_escape(r)}</p>" for r in result["invalid_because"])
    notes = "".join(f"<p class='soft'>{_escape(note)}</p>" for note in result["notes"])
    marks = [(k, latency[k]) for k in ("p50", "p90", "p95", "p99") if latency[k] is not None]
    stages = [
        (name.replace("_", " "), result["stages_ms"][name])
        for name in _STAGES
        if result["stages_ms"][name] is not None
    ]
    return "\n".join(
        (
            f"<h1>{_escape(heading)}</h1>",
            f"<p class='soft'>{_escape(report.what(result))}</p>",
            f"<p class='soft'>{_escape(result['device']['line'])}</p>",
            page.headline(figures),
            f"<div style='margin-top:14px'>{reasons}{notes}</div>",
            "<h2>Latency</h2>",
            charts.histogram(result["raw_ms"]["total"], marks),
            "<h2>Where the time goes (mean)</h2>",
            charts.stage_bars(stages),
            "<h2>Over time</h2>",
            _timeline(result),
            "<h2>Device and conditions</h2>",
            page.table(("", ""), _conditions(result)),
        )
    )


def _timeline(result: Result) -> str:
    raw, timeline = result["raw_ms"], result["timeline"]
    times = timeline["times_s"]
    tracks = []
    if any(value is not None for value in timeline["hottest_c"]):
        tracks.append(charts.Track("temperature", "°C", times, timeline["hottest_c"], "#c2452d"))
    for kind, colour in (("clock", "#2f7d5b"), ("power", "#8a6bb8")):
        source = (result["sensors"]["clock_mhz" if kind == "clock" else "power"] or {}).get(
            "source"
        )
        for sensor in timeline["sensors"]:
            if sensor["kind"] == kind and sensor["name"] == source:
                tracks.append(
                    charts.Track(
                        f"{kind} ({source})",
                        sensor["unit"],
                        times,
                        sensor["values"],
                        colour,
                        sensor["limit"],
                    )
                )
                break
    shaded = [
        (begin, end)
        for (begin, _), (end, flags) in itertools.pairwise(
            zip(times, timeline["throttled"], strict=True)
        )
        if flags
    ]
    missing = [
        f"{kind}: {reason}"
        for kind, reason in result["not_available"].items()
        if kind in ("temperature", "clock", "power", "throttling")
    ]
    note = f"<p class='soft'>Not available. {_escape('; '.join(missing))}</p>" if missing else ""
    legend = "<p class='soft'>Band: lowest to highest latency; line: median."
    legend += " Red: throttled.</p>" if shaded else "</p>"
    return charts.timeline(raw["started_s"], raw["total"], tracks, shaded) + legend + note


def _conditions(result: Result) -> list[tuple[str, str]]:
    device = result["device"]
    packages = ", ".join(f"{name} {version}" for name, version in device["packages"].items())
    rows = [
        ("device", device["line"]),
        ("packages", packages or None),
        ("protocol", report.protocol(result)),
        ("camera", report.camera(result)),
        ("memory", report.memory(result)),
        ("stability", report.stability(result)),
        ("CPU", report.cpu(result)),
        ("temperature", report.temperature(result)),
        ("clock", report.clock(result)),
        ("throttling", report.throttling(result)),
        ("power", report.power(result)),
        ("artifact", report.artifact(result)),
        ("edgead", result["edgead_version"]),
    ]
    return [
        (label, f"<div style='text-align:left'>{_escape(text)}</div>")
        for label, text in rows
        if text
    ]


def _escape(text: str) -> str:
    return html.escape(str(text))
