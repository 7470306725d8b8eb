"""How accurate detectors are: sets x models x seeds, trained, evaluated, and put into one table.

    python -m studies.accuracy OUT SET=DATA [SET=DATA ...] [--models A,B] [--seeds 0,1,2]

Needs the training install. ``DATA`` is a folder of photos with labelled test photos, or a folder of
such folders: MVTec AD or VisA (in MVTec AD's layout) as a whole. For those two the figures that
others published stand beside ours. Each training keeps its defaults unless ``--steps``,
``--teacher`` or ``--option`` say otherwise; test photos choose nothing. Trainings lie in
``OUT/SET-SEED/runs``; what is finished is not done again, an interrupted training goes on at its
last checkpoint, and one of another configuration is refused. Writes ``OUT/accuracy.md``, ``.csv``
and ``.json`` after every training.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgead import cpu, files, notices
from edgead.cli import _options
from edgead.compare.plan import Contender, Plan, contenders
from edgead.compare.prepare import require_same, trained
from edgead.datasets import Dataset
from edgead.errors import DataError, UsageError
from edgead.markdown import table
from studies.remember import remembered, run_key
from studies.script import told, write_csv

MVTEC_AD = frozenset(
    [
        "bottle",
        "cable",
        "capsule",
        "carpet",
        "grid",
        "hazelnut",
        "leather",
        "metal_nut",
        "pill",
        "screw",
        "tile",
        "toothbrush",
        "transistor",
        "wood",
        "zipper",
    ]
)
VISA = frozenset(
    [
        "candle",
        "capsules",
        "cashew",
        "chewinggum",
        "fryum",
        "macaroni1",
        "macaroni2",
        "pcb1",
        "pcb2",
        "pcb3",
        "pcb4",
        "pipe_fryum",
    ]
)

PUBLISHED: dict[frozenset[str], tuple[tuple[str, float, float | None], ...]] = {
    MVTEC_AD: (
        ("EfficientAd-S, Batzner et al. 2024, Table 2", 0.988, 0.931),
        ("EfficientAd-M, Batzner et al. 2024, Table 2", 0.991, 0.935),
        ("EfficientAd-S, nelson1425/EfficientAD", 0.9903, 0.9328),
    ),
    VISA: (
        ("EfficientAd-S, Batzner et al. 2024, Table 2", 0.975, None),
        ("EfficientAd-M, Batzner et al. 2024, Table 2", 0.981, None),
    ),
}
"""Mean image AUROC and AU-PRO over all categories, by the categories."""

_METRICS = ("image_auroc", "pixel_auroc", "au_pro", "false_alarm_rate")
_HEADER = ("set", "model", "seeds", "image AUROC", "pixel AUROC", "AU-PRO", "false alarms")


@dataclass(frozen=True)
class Cell:
    """One training of the matrix."""

    data_set: str
    model: str
    seed: int


def data_sets(pairs: Sequence[str]) -> tuple[dict[str, Path], dict[str, frozenset[str]]]:
    """Read ``SET=DATA``; a folder of data sets becomes one set for each.

    Returns:
        Folders by set, and the sets' categories by the name of a collection.

    Raises:
        UsageError: Not of that form, or a name comes twice.
        DataError: A folder is neither a data set nor a folder of them, or has no labelled photos.
    """
    found: dict[str, Path] = {}
    collections: dict[str, frozenset[str]] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise UsageError(f"'{pair}' is not of the form SET=DATA")
        root = Path(folder)
        inside = (
            sorted(p for p in root.iterdir() if (p / "train").is_dir()) if root.is_dir() else []
        )
        if not inside:
            new = {name: root}
        else:
            new = {f"{name}/{path.name}": path for path in inside}
            collections[name] = frozenset(path.name for path in inside)
        twice = next((key for key in new if key in found), None)
        if twice:
            raise UsageError(f"the set '{twice}' is given twice: name every set once")
        found |= new
    for name, path in found.items():
        if not any(photo.is_anomalous for photo in Dataset.from_folder(path).test_photos()):
            raise DataError(f"the set {name} ({path}) has no labelled defective photos in test/")
    return found, collections


def measure(contender: Contender, plan: Plan) -> dict[str, Any]:
    """Train one cell, or go on with it, and evaluate it on its labelled photos."""
    run = trained(contender, plan)
    result: dict[str, Any] = remembered(
        run.path / "accuracy.json",
        run_key(str(run.path), str(plan.data)),
        functools.partial(_evaluated, run.path, plan.data),
    )
    return result


def _evaluated(run: Path, data: Path) -> dict[str, Any]:
    from edgead.detector import open_detector
    from edgead.evaluation import evaluate
    from edgead.training import Run

    with open_detector(run) as detect:
        found = evaluate(detect, Dataset.from_folder(data))
    good = sum(not entry.photo.is_anomalous for entry in found.judged)
    return {
        "image_auroc": found.image_auroc,
        "pixel_auroc": found.pixel_auroc,
        "au_pro": found.au_pro,
        "false_alarm_rate": found.false_positives / good if good else None,
        "misses": found.misses,
        "photos": len(found.judged),
        "training_seconds": Run(run).training_seconds(),
        "by_defect": {kind: vars(result) for kind, result in found.by_defect.items()},
    }


def tables(
    results: Mapping[Cell, dict[str, Any]], collections: Mapping[str, frozenset[str]]
) -> str:
    """Return mean and spread over the seeds, by set and model, as Markdown."""
    rows: list[tuple[str, ...]] = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell, found in results.items():
        groups.setdefault((cell.data_set, cell.model), []).append(found)
        collection = cell.data_set.partition("/")[0]
        if collection in collections:
            groups.setdefault((f"{collection}, all", cell.model), [])
    for (data_set, model), entries in groups.items():
        collection = data_set.removesuffix(", all")
        if collection in collections:
            rows += _mean_of(collection, model, results, collections[collection])
        else:
            shown = [_spread([entry[key] for entry in entries]) for key in _METRICS]
            rows.append((data_set, model, str(len(entries)), *shown))
    return table(_HEADER, rows)


def _mean_of(
    collection: str,
    model: str,
    results: Mapping[Cell, dict[str, Any]],
    categories: frozenset[str],
) -> list[tuple[str, ...]]:
    """Return a collection's mean over its categories, seed by seed, and what others published."""
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for cell, found in results.items():
        if cell.model == model and cell.data_set.startswith(f"{collection}/"):
            by_seed.setdefault(cell.seed, []).append(found)
    whole = [entries for entries in by_seed.values() if len(entries) == len(categories)]
    if not whole:
        return [(f"{collection}, all", model, "not finished", *[""] * len(_METRICS))]
    shown = [
        _spread([_mean([entry[key] for entry in entries]) for entries in whole]) for key in _METRICS
    ]
    rows = [(f"**{collection}, all**", model, str(len(whole)), *shown)]
    for source, auroc, overlap in PUBLISHED.get(categories, ()):
        rows.append(
            (
                f"{collection}, all",
                f"published: {source}",
                "",
                f"{auroc:.4g}",
                "",
                "" if overlap is None else f"{overlap:.4g}",
                "",
            )
        )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or ``None`` where a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4f}"
    return f"{np.mean(known):.4f} ± {np.std(known, ddof=1):.4f}"


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(_options.whole_number(word) for word in text.split(","))


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
        help="detectors to train (default: efficientad-n)",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=(0, 1, 2), metavar="LIST", help="default: 0,1,2"
    )
    _options.add_trainings(parser)
    _options.add_device(parser)
    return told(functools.partial(_measured, parser.parse_args(arguments)))


def _measured(args: argparse.Namespace) -> str:
    """Train and evaluate the matrix; what is measured is written at once."""
    sets, collections = data_sets(args.pairs)
    cells = [
        cell
        for seed, (name, data) in itertools.product(args.seeds, sets.items())
        for cell in _cells(name, seed, _plan(args, name, data, seed))
    ]
    results: dict[Cell, dict[str, Any]] = {}
    text = ""
    for number, (cell, contender, plan) in enumerate(cells, 1):
        notices.say(f"{number} of {len(cells)}: {contender.run}")
        results[cell] = measure(contender, plan)
        text = f"{cpu.model_name()}\n\n{tables(results, collections)}\n"
        files.write_text(args.out / "accuracy.md", text)
        entries = [
            {"set": c.data_set, "model": c.model, "seed": c.seed, **found}
            for c, found in results.items()
        ]
        files.write_json(args.out / "accuracy.json", entries)
        rows = [{k: v for k, v in entry.items() if k != "by_defect"} for entry in entries]
        write_csv(args.out / "accuracy.csv", rows)
    return text


def _plan(args: argparse.Namespace, name: str, data: Path, seed: int) -> Plan:
    return Plan(
        data=data,
        out=args.out / f"{name.replace('/', '-')}-{seed}",
        detectors=args.models,
        steps=_options.steps_by_model(args.steps),
        teachers=_options.teachers_by_model(args.teacher),
        options=_options.options_by_model(args.option),
        seed=seed,
        image_size=args.image_size,
        train_device=args.device,
    )


def _cells(name: str, seed: int, plan: Plan) -> list[tuple[Cell, Contender, Plan]]:
    """List the trainings of one set and seed; what cannot be done must be known before hours.

    Raises:
        UsageError: A detector cannot be trained here, or its folder has another training in it.
    """
    kept, left_out = contenders(plan)
    if left_out:
        raise UsageError(f"{left_out[0].what} cannot be trained here: {left_out[0].reason}")
    for contender in kept:
        require_same(contender, plan)
    return [(Cell(name, contender.model, seed), contender, plan) for contender in kept]


if __name__ == "__main__":
    sys.exit(main())
