"""A result, or several side by side, as one self-contained HTML page."""

from __future__ import annotations

import itertools
import os

from edgead import page
from edgead.benchmarks import charts, report
from edgead.benchmarks.compare import Comparison
from edgead.benchmarks.result import Result
from edgead.markup import Html, element, joined

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
        element("h1", "edgead bench: side by side"),
        element("h2", "Latency of a frame against the first"),
        charts.ratio_bars(rows),
        page.soft(comparison.method),
        element("h2", "Figures"),
        element("div", page.table(head, body), class_="tight"),
        *(
            page.lines(
                element("div", style="height:40px"), result_body(column.result, column.label)
            )
            for column in comparison.columns
        ),
    ]
    style = (
        ".tight { font-size: 14px; } .tight td { white-space: nowrap; }"
        ".tight td:first-child, .tight td:last-child { white-space: normal; text-align: left; }"
    )
    page.write(path, "edgead bench: side by side", page.lines(*parts), style)


def result_body(result: Result, heading: str) -> Html:
    """Return what a page shows of one result."""
    latency, valid = result["latency_ms"], result["verdict"] == "VALID"
    figures = [
        ("verdict", element("span", result["verdict"], class_="good" if valid else "bad")),
        ("frames a second", f"{result['fps']:.1f}"),
        ("median", f"{report.milliseconds(latency['p50'])} ms"),
        *([("p90", f"{report.milliseconds(latency['p90'])} ms")] if latency["p90"] else []),
        *([("p99", f"{report.milliseconds(latency['p99'])} ms")] if latency["p99"] else []),
        *([("memory", f"{result['peak_rss_mib']:.0f} MiB")] if result["peak_rss_mib"] else []),
    ]
    reasons = [element("p", reason, class_="bad") for reason in result["invalid_because"]]
    notes = [page.soft(note) for note in result["notes"]]
    marks = [(k, latency[k]) for k in ("p50", "p90", "p95", "p99") if latency[k] is not None]
    stages = [
        (name.replace("_", " "), result["stages_ms"][name])
        for name in _STAGES
        if result["stages_ms"][name] is not None
    ]
    return page.lines(
        element("h1", heading),
        page.soft(report.what(result)),
        *([page.soft(seen)] if (seen := report.windows(result)) else []),
        page.soft(result["device"]["line"]),
        page.headline(figures),
        element("div", *reasons, *notes, style="margin-top:14px"),
        element("h2", "Latency"),
        charts.histogram(result["raw_ms"]["total"], marks),
        element("h2", "Where the time goes (mean)"),
        charts.stage_bars(stages),
        element("h2", "Over time"),
        _timeline(result),
        element("h2", "Device and conditions"),
        page.table(("", ""), _conditions(result)),
    )


def _timeline(result: Result) -> Html:
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
            is_known = any(value is not None for value in sensor["values"])
            if sensor["kind"] == kind and sensor["name"] == source and is_known:
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
    parts = [charts.timeline(raw["started_s"], raw["total"], tracks, shaded)]
    legend = "Band: lowest to highest latency; line: median."
    parts.append(page.soft(legend + (" Red: throttled." if shaded else "")))
    if missing:
        parts.append(page.soft(f"Not available. {'; '.join(missing)}"))
    return joined(*parts)


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
    return [(label, element("div", text, style="text-align:left")) for label, text in rows if text]
