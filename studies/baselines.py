"""Our exported files against the same network run the way a user would without us.

    python -m studies.baselines RUN=EXPORTS [RUN=EXPORTS ...] --out DIR

``RUN`` is a finished training, ``EXPORTS`` the folder it was exported to. One inference of one
photo at the network's size, all alternatives in turns, so that a busy machine disturbs them
alike; ratios are to PyTorch eager of the same round. Needs the training install. What is not
installed or cannot work here is skipped with a sentence. Writes ``DIR/baselines.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgead import cpu, files
from edgead.artifact import Manifest, read_artifact
from edgead.errors import EdgeadError, UsageError
from edgead.export.latency import in_turns
from edgead.markdown import table
from studies.script import pairs, told, write_csv

Photo: TypeAlias = npt.NDArray[np.uint8]
Infer: TypeAlias = Callable[[Photo], Any]

_HEADER = ("run", "how", "median ms", "of torch eager", "quartiles")


def alternatives(
    run: str, exports: Path, threads: int, stack: ExitStack
) -> tuple[dict[str, Infer], list[str]]:
    """Return every way to run a detector here, torch eager first, and why others are left out.

    Raises:
        UsageError: The folder holds no FP32 artifact.
        EdgeadError: The run cannot be loaded.
    """
    from edgead.runtimes import RuntimeOptions, available, open_runtime
    from edgead.training.reference import TorchReference

    reference = stack.enter_context(TorchReference.from_run(run, threads))
    artifacts = [read_artifact(path) for path in sorted(exports.glob("*.onnx"))]
    whole = (a for a in artifacts if a.manifest.compression is None)
    plain = next((a for a in whole if a.manifest.precision == "fp32"), None)
    if plain is None:
        raise UsageError(f"{exports} holds no FP32 artifact: edgead export {run} --out {exports}")
    found: dict[str, Infer] = {"torch eager, FP32": reference.infer}
    skipped: list[str] = []
    builders: dict[str, Callable[[], Infer]] = {
        "torch.compile, FP32": lambda: _compiled(run),
        "plain ONNX Runtime, FP32": lambda: _plain_onnxruntime(plain.content()),
        "plain OpenVINO, FP32 file": lambda: _plain_openvino(plain.content()),
        "plain OpenVINO, NNCF INT8": lambda: _nncf(plain.content(), plain.manifest.input.size),
    }
    for name, build in builders.items():
        try:
            infer = build()
            infer(np.zeros((1, *plain.manifest.input.size, 3), np.uint8))
        except Exception as error:  # whatever another library raises: it is left out, with its word
            skipped.append(f"{name}: {(str(error).strip().splitlines() or [repr(error)])[0]}")
        else:
            found[name] = infer
    for artifact in artifacts:
        if artifact.manifest.precision not in ("fp32", "int8"):
            continue
        for name, reason in available().items():
            label = f"edgead, {name}, {_precision(artifact.manifest)}"
            try:
                options = RuntimeOptions(threads=threads, spinning=False)
                selection = open_runtime(artifact, name, options)
            except EdgeadError as error:
                skipped.append(f"{label}: {reason or error}")
            else:
                found[label] = stack.enter_context(selection.runtime).infer
    return found, skipped


def _precision(manifest: Manifest) -> str:
    """Return the precision, and the operations where some were taken out."""
    less = f", compressed to {manifest.model.gmac:.2g} GMAC" if manifest.compression else ""
    return f"{manifest.precision.upper()}{less}"


def _compiled(run: str) -> Infer:
    import torch

    from edgead.training.run import Run

    model, _ = Run(Path(run)).load_model()
    compiled = torch.compile(model)

    def infer(photo: Photo) -> Any:
        with torch.inference_mode():
            return compiled(torch.from_numpy(photo))

    return infer


def _plain_onnxruntime(model: bytes) -> Infer:
    from edgead.runtimes.onnxruntime.library import PROVIDER, load

    onnxruntime = load()
    options = onnxruntime.SessionOptions()
    # Its idle threads would take the cores from the others, ours as well as theirs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=[PROVIDER])
    return lambda photo: session.run(None, {"image": photo})


def _plain_openvino(model: bytes) -> Infer:
    from edgead.runtimes.openvino import library

    core = library.load().Core()
    compiled = core.compile_model(core.read_model(model), "CPU")
    return lambda photo: compiled({"image": photo})


def _nncf(content: bytes, size: tuple[int, int]) -> Infer:
    from edgead.runtimes.openvino import library

    openvino = library.load()  # before NNCF imports it in its own way, with telemetry
    import nncf

    rng = np.random.default_rng(0)  # latency does not depend on what it is calibrated on
    photos = [rng.integers(0, 256, (1, *size, 3), np.uint8) for _ in range(4)]
    model = nncf.quantize(
        openvino.Core().read_model(content), nncf.Dataset(photos), subset_size=len(photos)
    )
    compiled = openvino.Core().compile_model(model, "CPU")
    return lambda photo: compiled({"image": photo})


def _rows(run: str, samples: dict[str, npt.NDArray[np.float64]]) -> list[tuple[str, ...]]:
    eager = next(iter(samples.values()))
    rows: list[tuple[str, ...]] = []
    for name, values in samples.items():
        low, middle, high = np.percentile(values / eager, (25, 50, 75))
        rows.append(
            (
                Path(run).name,
                name,
                f"{np.median(values):.2f}",
                f"{middle:.3f}",
                f"{low:.3f} to {high:.3f}",
            )
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="python -m studies.baselines")
    parser.add_argument("pairs", nargs="+", metavar="RUN=EXPORTS", help="run = its export folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the tables")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="samples of each")
    parser.add_argument("--threads", type=int, default=cpu.default_threads(), metavar="N")
    args = parser.parse_args(arguments)
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    runs = pairs(parser, args.pairs, "RUN=EXPORTS")
    return told(functools.partial(_measured, args.out, runs, args.threads, args.rounds))


def _measured(out: Path, asked: Sequence[tuple[str, str]], threads: int, rounds: int) -> str:
    """Measure all runs, write the table and return it."""
    rows: list[tuple[str, ...]] = []
    raw: dict[str, Any] = {}
    notes: list[str] = []
    for run, exports in asked:
        with ExitStack() as stack:
            found, skipped = alternatives(run, Path(exports), threads, stack)
            size = read_artifact(next(iter(sorted(Path(exports).glob("*.onnx"))))).manifest
            photo = np.random.default_rng(0).integers(0, 256, (1, *size.input.size, 3), np.uint8)
            calls = {name: functools.partial(infer, photo) for name, infer in found.items()}
            timed = in_turns(calls, rounds)
        rows += _rows(run, {name: np.asarray(values) for name, values in timed.items()})
        notes += [f"{Path(run).name}: {reason}" for reason in skipped]
        raw[run] = {"ms": timed, "skipped": skipped}
    text = f"{cpu.model_name()}, {threads} threads, {rounds} rounds\n\n{table(_HEADER, rows)}\n"
    if notes:
        text += "\nLeft out:\n\n" + "".join(f"- {note}\n" for note in notes)
    files.write_text(out / "baselines.md", text)
    files.write_json(out / "baselines.json", raw)
    write_csv(out / "baselines.csv", [dict(zip(_HEADER, row, strict=True)) for row in rows])
    return text


if __name__ == "__main__":
    sys.exit(main())
