"""What a compression costs and buys: accuracy, operations, size and latency, before and after.

    python -m studies.compression OUT RUN=DATA [RUN=DATA ...] [--compress GMAC]
        [--max-drop POINTS]

Needs the training install: it exports. For each run it exports the detector as it is and
compressed, both in FP32 and INT8, evaluates the four files on the labelled photos, and times them
in one alternating run with every runtime here. The labelled photos are looked at only afterwards:
they choose nothing. Writes ``OUT/compression.md``, ``.csv`` and ``.json``, and two export folders
for each run. A run that was measured before (same weights, data, target, edgead) is not measured
again.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgead import cpu, files, images, notices
from edgead.artifact import Artifact, read_artifact
from edgead.cli import _options
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.errors import EdgeadError, GateRefused
from edgead.evaluation import evaluate
from edgead.markdown import figure, table
from edgead.runtimes import open_runtime
from studies.remember import remembered, run_key
from studies.script import pairs, told, write_csv

if TYPE_CHECKING:
    from edgead.export import ExportOptions

_RUNTIMES = ("onnxruntime", "openvino")
_HEADER = ("run", "file", "GMAC", "MB", "image AUROC", "AU-PRO", "ONNX Runtime ms", "OpenVINO ms")
_RATIOS = ("run", "precision", "GMAC", "size", "ONNX Runtime", "OpenVINO", "AUROC", "AU-PRO")


def measure(run: str, data: str, out: Path, target: float | str, max_drop: float) -> dict[str, Any]:
    """Export a run as it is and compressed, and measure the files.

    Args:
        run: Run folder or FP32 artifact.
        data: Labelled photos.
        out: For the exports.
        target: GMAC, or ``"auto"``.
        max_drop: Points that the gate lets a file lose.

    Returns:
        ``"files"``, one row each: the original's FP32 and INT8, then the compressed ones; a file
        that was refused has no row, and its reason is among ``"refused"``. ``"seconds"`` is what
        the compressed export took, checks of every kind included.
    """
    from edgead.export import ExportOptions

    original = ExportOptions(int8="static", max_drop=max_drop)
    smaller = ExportOptions(int8="static", max_drop=max_drop, compress=target)
    artifacts, refused = _exported(run, out / "original", original)
    start = time.perf_counter()
    compressed, also_refused = _exported(run, out / "compressed", smaller)
    seconds = time.perf_counter() - start
    artifacts += [a for a in compressed if a.manifest.compression is not None]
    if not artifacts:
        raise GateRefused(f"{run} cannot be measured: {refused[0]}")
    dataset = Dataset.from_folder(data)
    size = artifacts[0].manifest.input.size
    photo = images.resize(images.read_image(dataset.test_photos()[0].path), size)
    timed = {name: _latencies(artifacts, name, photo) for name in _RUNTIMES}
    rows = []
    for index, artifact in enumerate(artifacts):
        with EdgeDetector(artifact.path, "onnxruntime") as detect:
            found = evaluate(detect, dataset)
        manifest = artifact.manifest
        rows.append(
            {
                "name": manifest.name,
                "precision": manifest.precision,
                "compressed": manifest.compression is not None,
                "gmac": manifest.model.gmac,
                "size_bytes": artifact.size_bytes,
                "image_auroc": found.image_auroc,
                "au_pro": found.au_pro,
                "latency_ms": {name: found_ms[index] for name, found_ms in timed.items()},
            }
        )
    return {"files": rows, "refused": [*refused, *also_refused], "seconds": seconds}


def _exported(run: str, out: Path, options: ExportOptions) -> tuple[list[Artifact], list[str]]:
    """Export; return the FP32 and INT8 files that were written, and what was refused and why."""
    from edgead.export import export

    shutil.rmtree(out, ignore_errors=True)  # a file of an earlier try is not of this export
    refused = []
    try:
        export(run, out, options)
    except GateRefused as error:
        refused.append(str(error))
    written = [read_artifact(path) for path in sorted(out.glob("*.onnx"))]
    kept = [artifact for artifact in written if artifact.manifest.precision in ("fp32", "int8")]
    return sorted(kept, key=lambda a: (-a.manifest.model.gmac, a.manifest.precision)), refused


def _latencies(
    artifacts: Sequence[Artifact], runtime: str, photo: images.Image
) -> list[float | None]:
    from edgead.export.latency import SIDE_BY_SIDE, side_by_side

    with ExitStack() as stack:
        try:
            opened = {
                str(index): stack.enter_context(
                    open_runtime(artifact, runtime, SIDE_BY_SIDE).runtime
                )
                for index, artifact in enumerate(artifacts)
            }
        except EdgeadError as error:
            notices.warn(str(error))
            return [None] * len(artifacts)
        return [*side_by_side(opened, np.ascontiguousarray(photo[None])).values()]


def tables(runs: Mapping[str, dict[str, Any]]) -> str:
    """Return the files, and the compressed ones divided by the original ones, as Markdown."""
    rows, ratios, notes = [], [], []
    for run, measured in runs.items():
        name, entries = Path(run).name, measured["files"]
        notes.append(f"{name}: the compressed export took {measured['seconds']:.0f} s")
        notes += [f"{name}: {reason}" for reason in measured["refused"]]
        for entry in entries:
            rows.append(
                (
                    name,
                    entry["name"],
                    f"{entry['gmac']:.3g}",
                    f"{entry['size_bytes'] / 1e6:.2f}",
                    figure(entry["image_auroc"]),
                    figure(entry["au_pro"]),
                    *(figure(entry["latency_ms"][key], ".2f") for key in _RUNTIMES),
                )
            )
        for precision in ("fp32", "int8"):
            of_kind = {e["compressed"]: e for e in entries if e["precision"] == precision}
            if len(of_kind) < 2:
                continue
            before, after = of_kind[False], of_kind[True]
            ratios.append(
                (
                    name,
                    precision,
                    f"{after['gmac'] / before['gmac']:.2f}",
                    f"{after['size_bytes'] / before['size_bytes']:.2f}",
                    *(
                        _ratio(after["latency_ms"][key], before["latency_ms"][key])
                        for key in _RUNTIMES
                    ),
                    *(_change(after[key], before[key]) for key in ("image_auroc", "au_pro")),
                )
            )
    return (
        f"{table(_HEADER, rows)}\n\nCompressed over original:\n\n{table(_RATIOS, ratios)}\n\n"
        + "".join(f"- {note}\n" for note in notes)
    )


def _ratio(after: float | None, before: float | None) -> str:
    return "-" if after is None or before is None else f"{after / before:.2f}"


def _change(after: float | None, before: float | None) -> str:
    return "-" if after is None or before is None else f"{100 * (after - before):+.2f} points"


def _flat(runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a file, with a column for the latency in each runtime."""
    return [
        {
            "run": Path(run).name,
            **{key: value for key, value in entry.items() if key != "latency_ms"},
            **{f"latency_ms_{name}": entry["latency_ms"][name] for name in _RUNTIMES},
        }
        for run, measured in runs.items()
        for entry in measured["files"]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m studies.compression")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for tables and exports")
    parser.add_argument("pairs", nargs="+", metavar="RUN=DATA", help="run folder = labelled photos")
    parser.add_argument(
        "--compress",
        type=_options.compression,
        default="auto",
        metavar="GMAC",
        help="target (default: as few operations as the gate allows)",
    )
    _options.add_max_drop(parser)
    args = parser.parse_args(arguments)
    runs = pairs(parser, args.pairs, "RUN=DATA")
    return told(functools.partial(_measured, args.out, runs, args.compress, args.max_drop))


def _measured(
    out: Path, asked: Sequence[tuple[str, str]], target: float | str, max_drop: float
) -> str:
    """Measure all runs and return the tables; what is measured is written at once."""
    runs: dict[str, dict[str, Any]] = {}
    text = ""
    for run, data in asked:
        folder = out / Path(run).name
        key = {**run_key(run, data), "target": target, "max_drop": max_drop}
        make = functools.partial(measure, run, data, folder, target, max_drop)
        runs[run] = remembered(folder / "files.json", key, make)
        text = f"{cpu.model_name()}, {cpu.physical_cores()} threads\n\n{tables(runs)}"
        files.write_text(out / "compression.md", text)
        files.write_json(out / "compression.json", {"runs": runs})
        write_csv(out / "compression.csv", _flat(runs))
    return text


if __name__ == "__main__":
    sys.exit(main())
