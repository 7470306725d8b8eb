"""Speed from another device: what ``edgead bench --json`` wrote there, put beside accuracy here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgead.artifact import kind_of
from edgead.compare.results import HERE, Latency, Variant
from edgead.errors import UsageError


def read_bench(path: Path) -> list[dict[str, Any]]:
    """Read what ``edgead bench --json`` wrote: one measurement, or those of a folder's files.

    Raises:
        UsageError: The file cannot be read, is something else, or did not measure single frames.
    """
    from edgead.benchmarks.protocol import Scenario
    from edgead.benchmarks.stored import read_results

    results = read_results(path)
    for result in results:
        config = result["config"]
        if config["scenario"] != Scenario.SINGLE_STREAM.value or config["camera_fps"]:
            raise UsageError(
                f"{path} is a measurement of another scenario ({config['scenario']}) than the "
                "comparison (single stream, frames without a pause): measure again on the device "
                "without --streams, --batch and --camera-fps"
            )
    return results


def measured_elsewhere(
    device: str, path: Path, found: dict[str, Any], here: Sequence[Variant]
) -> Variant:
    """Make a row of a benchmark from another device.

    The same file (by its sha256) is looked for first; then one of the same name, model and
    precision, because latency depends on the network and not on what it learned. Engines built on
    the device match that way.

    Args:
        device: What to call the device.
        path: JSON of ``edgead bench`` there, for the error.
        found: Its content, see :func:`read_bench`.
        here: The variants measured here.

    Raises:
        UsageError: It matches nothing here; names both sides.
    """
    artifact, runtime = found["artifact"], found["runtime"]["name"]
    match, note = _match(artifact, path, here)
    same_runtime = [v for v in match if v.runtime == runtime]
    local = (same_runtime or match)[0]
    accuracy = f"accuracy measured here in {local.runtime}"
    latency = found["latency_ms"]
    doubt = None
    if found["verdict"] == "INVALID":
        doubt = "its verdict is INVALID: " + "; ".join(found["invalid_because"])
    return local.replace(
        runtime=runtime,
        device=device,
        size_bytes=artifact["size_bytes"],
        latency=Latency(
            latency["p50"],
            latency["p90"],
            latency["mean"],
            latency["max"],
            found["samples"],
            doubt,
        ),
        memory_mib=found["peak_rss_mib"],
        note="; ".join(filter(None, (accuracy, note))),
    )


def _match(
    artifact: dict[str, Any], path: Path, here: Sequence[Variant]
) -> tuple[list[Variant], str]:
    local = [variant for variant in here if variant.device == HERE]
    same = [v for v in local if v.sha256 == artifact["sha256"]]
    if same:
        return same, ""
    arithmetic = kind_of(artifact["precision"]).arithmetic
    named = [
        v
        for v in local
        # Static and dynamic INT8, and INT8 in TensorRT's shape, count as one.
        if v.model == artifact["model"] and v.kind.arithmetic == arithmetic
    ]
    detectors = {v.detector for v in named}
    if len(detectors) == 1:
        return named, "matched by model and precision, not by file"
    files = sorted({f"{v.detector} {v.precision} ({v.sha256[:12]})" for v in local})
    why = (
        f"matches several detectors here ({', '.join(sorted(detectors))})"
        if detectors
        else "is not one of the files compared here"
    )
    raise UsageError(
        f"{path} is a measurement of {artifact['file']} ({artifact['model']} "
        f"{artifact['precision']}, sha256 {artifact['sha256'][:12]}), which {why}: "
        f"{', '.join(files)}; bench one of these files on the device, or leave the JSON out"
    )
