"""A trained detector on a prepared set, for the same table."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from edgead import notices
from edgead.errors import EdgeadError, GateRefused
from studies.taught.cells import FP32, INT8, PRECISIONS, Cell, append, figures, is_done, line
from studies.taught.prepared import draws_of, laid_out


def measure(
    model: str, name: str, prepared: Path, seed: int, steps: int, device: str, file: Path
) -> None:
    """Train on all photos of a draw, export FP32 and static INT8, evaluate, and append the lines.

    Args:
        model: Registered name of the detector.
        name: Of the set.
        prepared: Its folder.
        seed: Of the training; the draw has the same number.
        steps: Training steps.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        file: The lines.

    Raises:
        EdgeadError: The training or the export failed.
    """
    draw = draws_of(prepared)[seed]
    cell = Cell(model, name, seed, len(draw.train), True)
    if is_done(file, cell):
        notices.say(f"{model}, {name}, seed {seed} is there")
        return
    from edgead.export import ExportOptions, export
    from edgead.training import TrainConfig, train

    with tempfile.TemporaryDirectory() as scratch:
        dataset = laid_out(prepared, draw, Path(scratch) / "data")
        run, exports = Path(scratch) / "run", Path(scratch) / "exports"
        start = time.perf_counter()
        try:
            config = TrainConfig(model=model, data=str(dataset.root), steps=steps, seed=seed)
            train(config, run, device)
        except EdgeadError as error:  # too few photos, for one: that is the result
            for precision in PRECISIONS:
                append(file, line(cell, precision, 0.0, refused=str(error)))
            return
        seconds = time.perf_counter() - start
        refused = None
        try:
            export(run, exports, ExportOptions(int8="static"))
        except GateRefused as error:
            refused = str(error)
        for precision, name_of in ((FP32, f"{model}.onnx"), (INT8, f"{model}-int8.onnx")):
            path = exports / name_of
            found = figures(path, dataset) if path.is_file() else {}
            reason = refused if precision == INT8 else None
            append(file, line(cell, precision, seconds, refused=reason, **found))
