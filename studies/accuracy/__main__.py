"""How accurate detectors are: sets x detectors x seeds, made, evaluated, and put into one table.

    python -m studies.accuracy OUT SET=DATA [SET=DATA ...] [--models A,B] [--seeds 0,1,2]

Needs the training install. ``DATA`` is a data set with labelled test photos, or a folder of such
data sets: MVTec AD, MVTec AD 2 or VisA as they are published, with their own splits. The figures
that others published stand beside ours. ``--models all`` is every detector, trained or taught.
First it estimates the time; ``--estimate-only`` does nothing else. Each training keeps its defaults
unless ``--steps``, ``--teacher`` or ``--option`` say otherwise; test photos choose nothing.
Trainings lie in ``OUT/SET-SEED/runs``, taught files in ``OUT/SET-taught/exports``; what is finished
is not done again, an interrupted training goes on at its last checkpoint, and one of another
configuration is refused. Writes ``OUT/accuracy.md``, ``.csv`` and ``.json`` after every cell.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgead import cpu, files, notices
from edgead.cli import _options
from edgead.compare.plan import Plan
from studies.accuracy import cells, estimate, protocols
from studies.accuracy.cells import Cell
from studies.accuracy.tables import notes, tables
from studies.script import told, write_csv


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m studies.accuracy")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for tables and trainings")
    parser.add_argument("pairs", nargs="+", metavar="SET=DATA", help="name = labelled photos")
    parser.add_argument(
        "--models",
        type=_options.listed,
        default=("efficientad-n",),
        metavar="A,B",
        help="detectors to train or teach, or 'all' (default: efficientad-n)",
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=(0, 1, 2),
        metavar="LIST",
        help="of the trainings (default: 0,1,2); what is taught has none",
    )
    parser.add_argument(
        "--estimate-only", action="store_true", help="say how long it will take, and stop"
    )
    _options.add_trainings(parser)
    _options.add_device(parser)
    return told(functools.partial(_measured, parser.parse_args(arguments)))


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(_options.whole_number(word) for word in text.split(","))


def _measured(args: argparse.Namespace) -> str:
    """Make and evaluate the matrix; what is measured is written at once."""
    sets = protocols.labelled_sets(args.pairs, args.out / "views")
    collections = protocols.categories(sets)
    jobs = cells.jobs(args.models, sets, [_plan(args, seed) for seed in args.seeds])
    times = estimate.text(estimate.estimates(jobs))
    if args.estimate_only:
        return times
    for line in times.splitlines():
        notices.say(line)
    results: dict[Cell, dict[str, Any]] = {}
    text = ""
    for number, job in enumerate(jobs, 1):
        notices.say(f"{number} of {len(jobs)}: {job.contender.run}")
        results[job.cell] = job.measure()
        text = f"{cpu.model_name()}\n\n{tables(results, collections)}\n{notes(sets)}"
        files.write_text(args.out / "accuracy.md", text)
        entries = [
            {"set": c.data_set, "model": c.model, "seed": c.seed, **found}
            for c, found in results.items()
        ]
        files.write_json(args.out / "accuracy.json", entries)
        columns = dict.fromkeys(k for entry in entries for k in entry if k != "by_defect")
        write_csv(args.out / "accuracy.csv", [{k: e.get(k) for k in columns} for e in entries])
    return text


def _plan(args: argparse.Namespace, seed: int) -> Plan:
    return Plan(
        data=args.out,  # each set has its own
        out=args.out,
        steps=_options.steps_by_model(args.steps),
        teachers=_options.teachers_by_model(args.teacher),
        options=_options.options_by_model(args.option),
        seed=seed,
        image_size=args.image_size,
        train_device=args.device,
    )


if __name__ == "__main__":
    sys.exit(main())
