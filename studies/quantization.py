"""What each precision costs and buys: accuracy, size and latency of every export of some runs.

    python -m studies.quantization OUT RUN=DATA [RUN=DATA ...] [--ladder]

Needs the training install: it exports. Writes ``OUT/quantization.md``, ``.csv`` and ``.json``, and
one export folder for each run. With ``--ladder``, also what each step of static INT8 buys. A run
that was measured before (same weights, same data, same edgead) is not measured again: remove its
folder for that.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import cpu, files, strict_json
from edgead.errors import GateRefused, UsageError
from edgead.markdown import table
from studies.labelled import Trial
from studies.remember import remembered, run_key
from studies.script import told, write_csv

_MAIN = ("run", "variant", "image AUROC", "AU-PRO", "size / FP32", "latency / FP32", "gate")
_INT8 = ("int8", "int8-dynamic")
_CSV = (
    *("precision", "image_auroc", "image_auroc_drop", "au_pro", "au_pro_drop"),
    *("size_bytes", "latency_ms", "accepted", "reason"),
)
_STEPS = ("run", "step", "image AUROC", "change, points", "rank correlation")


def measure(run: str, data: str, out: Path) -> list[dict[str, Any]]:
    """Export a run in every precision and return its report's variants."""
    from edgead.export import ExportOptions, export

    with contextlib.suppress(GateRefused):  # the report has what was refused, too
        export(run, out, ExportOptions(fp16=True, int8="auto", validate=data))
    report = strict_json.read(out / "report.json", UsageError, "export again")
    variants: list[dict[str, Any]] = report["variants"]
    return variants


def summary(runs: Mapping[str, list[dict[str, Any]]]) -> str:
    """Say what the INT8 chosen for each run loses, weighs and takes, on average and at worst."""
    chosen = {}
    for run, variants in runs.items():
        kept = [v for v in variants if v["accepted"] and v["precision"] in _INT8]
        if kept:
            chosen[run] = (variants[0], kept[0])
    lines = [
        f"{name} of the chosen INT8 on {len(drops)} runs: mean {np.mean(drops):+.2f}, worst "
        f"{max(drops):+.2f} points lost."
        for name, key in (("Image AUROC", "image_auroc_drop"), ("AU-PRO", "au_pro_drop"))
        if (drops := [v[key] for _, v in chosen.values() if v[key] is not None])
    ]
    if chosen:
        sizes = [int8["size_bytes"] / fp32["size_bytes"] for fp32, int8 in chosen.values()]
        times = [int8["latency_ms"] / fp32["latency_ms"] for fp32, int8 in chosen.values()]
        lines.append(
            f"At most {max(sizes):.3f} of FP32's size and {max(times):.2f} of its latency."
        )
    refused = [Path(run).name for run in runs if run not in chosen]
    if refused:
        lines.append(f"No INT8 passed the gate for: {', '.join(refused)}.")
    return "\n".join(lines)


def ladder(run: str, data: str) -> list[tuple[str, str, str, str, str]]:
    """Measure static INT8 step by step, by image AUROC on labelled photos."""
    from edgead.export.parity import rank_correlation

    trial = Trial.of(run, data)
    reference = trial.scores(trial.model)
    base = trial.auroc(reference) or 0.0
    rows = [(Path(run).name, "FP32", f"{base:.4f}", "", "")]
    for name, graph in _steps(trial.model, trial.photos):
        scores = trial.scores(graph)
        auroc = trial.auroc(scores) or 0.0
        correlation = rank_correlation(reference, scores)
        change = f"{100 * (auroc - base):+.2f}"
        rows.append((Path(run).name, name, f"{auroc:.4f}", change, f"{correlation:.4f}"))
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _steps(model: Any, photos: Any) -> Iterator[tuple[str, Any]]:
    from edgead.calibration.calibrators import CALIBRATORS
    from edgead.calibration.ranges import channel_maxima, extremes
    from edgead.export import qdq
    from edgead.export.equalise import equalisable, equalise
    from edgead.export.refit import refit_head
    from edgead.export.rounding import round_weights
    from edgead.export.static import static_int8

    batches = photos.for_ranges()

    def written(graph: Any) -> Any:
        seen = extremes(graph, qdq.calibrated_tensors(graph), batches)
        return qdq.for_onnxruntime(graph, seen)

    yield "onnxruntime quantize_static, its defaults", _library(model, batches)
    plain = _with_integer_autoencoder(model)
    nearest = written(plain)
    yield "ours: FP32 head, weights rounded to nearest", nearest
    yield "+ head fitted again", refit_head(model, nearest, photos.good)
    rounded = round_weights(plain, batches)
    yield (
        "+ weights rounded by moments, bias corrected",
        refit_head(model, written(rounded), photos.good),
    )
    maxima = channel_maxima(plain, list(equalisable(plain)), batches)
    even = round_weights(equalise(plain, maxima), batches)
    yield "+ channels equalised", refit_head(model, written(even), photos.good)
    yield "+ headroom for compared features", static_int8(plain, photos).onnxruntime
    for name in CALIBRATORS:
        made = static_int8(model, photos, name)
        yield f"+ autoencoder's activations float ({name})", made.onnxruntime
    alone = dataclasses.replace(photos, defective=photos.defective[:0])
    yield (
        "the same, ranges from good photos alone (minmax)",
        static_int8(model, alone).onnxruntime,
    )
    yield "the same for TensorRT (minmax)", static_int8(model, photos).tensorrt


def _with_integer_autoencoder(model: Any) -> Any:
    """Rename the autoencoder's nodes, so that nothing tells them from others."""
    import onnx

    from edgead.export import roles

    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for node in renamed.graph.node:
        if roles.is_autoencoder(node):
            node.name = f"plain_{node.name}"
    return renamed


def _library(model: Any, batches: Sequence[npt.NDArray[np.uint8]]) -> Any:
    """Quantize as onnxruntime does without being told anything."""
    import tempfile

    import onnx

    from edgead.runtimes.onnxruntime.library import load_quantization

    quantization: Any = load_quantization()

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            photo = next(self.left, None)
            return None if photo is None else {"image": photo}

    with tempfile.TemporaryDirectory() as scratch:
        paths = [f"{scratch}/source.onnx", f"{scratch}/target.onnx"]
        onnx.save(model, paths[0])
        quantization.quantize_static(
            *paths,
            Reader(),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(paths[1])


def _rows(run: str, variants: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    fp32 = variants[0]
    for variant in variants:
        latency = variant["latency_ms"]
        yield (
            Path(run).name,
            variant["precision"],
            _with_change(variant["image_auroc"], variant["image_auroc_drop"]),
            _with_change(variant["au_pro"], variant["au_pro_drop"]),
            f"{variant['size_bytes'] / fp32['size_bytes']:.3f}",
            "-" if latency is None else f"{latency / fp32['latency_ms']:.2f}",
            "written" if variant["accepted"] else variant["reason"],
        )


def _with_change(value: float | None, drop: float | None) -> str:
    return "-" if value is None else f"{value:.4f} ({0.0 - (drop or 0.0):+.2f})"


def _write(
    out: Path, runs: Mapping[str, list[dict[str, Any]]], steps: Sequence[Sequence[str]]
) -> str:
    """Write both files with what has been measured so far; return the Markdown."""
    rows = [row for run, variants in runs.items() for row in _rows(run, variants)]
    text = f"{cpu.model_name()}, {cpu.physical_cores()} threads\n\n{table(_MAIN, rows)}\n\n"
    text += f"{summary(runs)}\n"
    if steps:
        text += f"\n{table(_STEPS, steps)}\n"
    files.write_text(out / "quantization.md", text)
    files.write_json(out / "quantization.json", {"runs": runs, "ladder": steps})
    flat = [{"run": Path(run).name, **variant} for run, found in runs.items() for variant in found]
    write_csv(
        out / "quantization.csv", [{key: row.get(key) for key in ("run", *_CSV)} for row in flat]
    )
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m studies.quantization")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for tables and exports")
    parser.add_argument("pairs", nargs="+", metavar="RUN=DATA", help="run folder = labelled photos")
    parser.add_argument("--ladder", action="store_true", help="also static INT8 step by step")
    args = parser.parse_args(arguments)
    pairs = [pair.rpartition("=")[::2] for pair in args.pairs]
    names = [Path(run).name for run, _ in pairs]
    if not all(run and data for run, data in pairs) or len(set(names)) < len(names):
        parser.error("each RUN=DATA needs a run folder of a name of its own, and a data folder")
    return told(functools.partial(_measured, args.out, pairs, args.ladder))


def _measured(out: Path, pairs: Sequence[tuple[str, str]], with_ladder: bool) -> str:
    """Measure all runs and return the tables; what is measured is written at once."""
    steps: list[Sequence[str]] = []
    runs: dict[str, list[dict[str, Any]]] = {}
    text = ""
    for run, data in pairs:
        folder = out / Path(run).name
        make = functools.partial(measure, run, data, folder)
        runs[run] = remembered(folder / "variants.json", run_key(run, data), make)
        text = _write(out, runs, steps)
    for run, data in pairs if with_ladder else ():
        file = out / Path(run).name / "ladder.json"
        steps += remembered(file, run_key(run, data), functools.partial(ladder, run, data))
        text = _write(out, runs, steps)
    return text


if __name__ == "__main__":
    sys.exit(main())
