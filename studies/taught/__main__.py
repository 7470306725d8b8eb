"""How accurate taught detectors are: sets x draws x numbers of photos, FP32 and INT8.

    python -m studies.taught prepare SETS NAME=DATA ... [--groups NAME=CSV] [--resize halved]
    python -m studies.taught table SETS --out OUT [--jobs N]
    python -m studies.taught train SETS --out OUT --set NAME --seed N
    python -m studies.taught losses SETS --out OUT --set NAME [--detector A] [--photos N]
    python -m studies.taught heads SETS --out OUT --features DIR [--sets-only A,B] [--photos 4,all]

``prepare`` resizes data sets in MVTec AD's layout to the network's size and draws their good photos
three times: the others need nothing but the folder ``SETS``. ``table`` teaches and evaluates
every cell that ``OUT/cells.jsonl`` lacks, one process and one thread each, and writes
``OUT/taught.md``. ``train`` adds a trained detector (needs the training install). ``losses``
says what INT8 costs on synthetic defects, by scores and by the shape of the maps, and writes
``OUT/losses.md``. ``heads`` compares stages and detectors on features that are computed once
(0.7 GB for the five sets), and writes ``OUT/heads.md``. Test photos choose nothing in ``table``,
``train`` and ``losses``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from edgead import cpu, files, notices, resizing
from edgead.cli import _options
from edgead.errors import UsageError
from edgead.teaching import DETECTORS
from studies.script import pairs, told
from studies.taught import cells, heads, losses, prepared, report, trained

_RESIZES = {"area": resizing.AREA, "halved": resizing.HALVED}
_CELLS, _TABLE = "cells.jsonl", "taught.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step of the study."""
    parser = argparse.ArgumentParser(prog="python -m studies.taught")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("prepare", help="resize sets and draw their photos")
    step.add_argument("sets", type=Path, metavar="SETS", help="folder to write")
    step.add_argument("pairs", nargs="+", metavar="NAME=DATA", help="name = set")
    step.add_argument(
        "--groups",
        action="append",
        default=[],
        metavar="NAME=CSV",
        help="file,group,role of a set's good photos: draws keep groups together",
    )
    step.add_argument(
        "--image-size",
        type=_options.image_size,
        default=(256, 256),
        metavar="HxW",
        help="of photos and masks (default: 256x256)",
    )
    step.add_argument(
        "--resize",
        choices=_RESIZES,
        default="area",
        help="how photos become that size (default: %(default)s)",
    )
    step = steps.add_parser("table", help="teach and evaluate what is not there yet")
    _add_common(step)
    step.add_argument(
        "--detectors", type=_options.listed, default=DETECTORS, metavar="A,B", help="to teach"
    )
    step.add_argument("--sets-only", type=_options.listed, default=(), metavar="A,B")
    step.add_argument(
        "--photos",
        type=_numbers,
        default=(1, 2, 4, 8, 16),
        metavar="LIST",
        help="numbers of photos, besides all (default: 1,2,4,8,16)",
    )
    step.add_argument("--draws", type=_numbers, default=tuple(range(prepared.DRAWS)))
    step.add_argument("--jobs", type=int, default=cpu.physical_cores(), metavar="N")
    step = steps.add_parser("train", help="add a trained detector")
    _add_common(step)
    step.add_argument("--set", required=True, dest="name", metavar="NAME")
    step.add_argument("--seed", type=int, required=True, metavar="N", help="and number of the draw")
    step.add_argument("--model", default="efficientad-n")
    step.add_argument("--steps", type=int, default=1000)
    _options.add_device(step)
    step = steps.add_parser("losses", help="what INT8 costs on synthetic defects")
    _add_common(step)
    step.add_argument("--set", required=True, dest="name", metavar="NAME")
    step.add_argument("--detector", choices=DETECTORS, default=DETECTORS[0])
    step.add_argument("--draw", type=int, choices=range(prepared.DRAWS), default=0)
    step.add_argument("--photos", type=_options.whole_number, default=16, metavar="N")
    step.add_argument("--defects", type=_options.whole_number, default=400, metavar="N")
    step = steps.add_parser("heads", help="compare stages and detectors on kept features")
    _add_common(step)
    step.add_argument("--features", type=Path, required=True, metavar="DIR", help="for features")
    step.add_argument("--sets-only", type=_options.listed, default=(), metavar="A,B")
    step.add_argument(
        "--photos", type=_counts, default=(None,), metavar="LIST", help="numbers, or all (default)"
    )
    args = parser.parse_args(arguments)
    run = {
        "prepare": _prepare,
        "table": _table,
        "train": _train,
        "losses": _losses,
        "heads": _heads,
    }[args.step]
    return told(functools.partial(run, args))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sets", type=Path, metavar="SETS", help="prepared folder")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="for the results")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_options.whole_number(word) for word in text.split(","))


def _counts(text: str) -> tuple[int | None, ...]:
    return tuple(None if word == "all" else int(word) for word in text.split(","))


def _heads(args: argparse.Namespace) -> str:
    sets = prepared.sets_in(args.sets, args.sets_only)
    text = ""
    for path in sets.values():
        text += heads.compare(path, args.features, args.photos) + "\n\n"
        files.write_text(args.out / "heads.md", text)
    return text


def _losses(args: argparse.Namespace) -> str:
    path = prepared.sets_in(args.sets, (args.name,))[args.name]
    found = losses.measure(path, args.detector, args.draw, args.photos, args.defects)
    of = f"{args.name}, {args.detector}, draw {args.draw}, {args.photos} photos"
    text = f"{of}, {args.defects} defects\n\n{found}\n"
    files.write_text(args.out / "losses.md", text)
    return text


def _prepare(args: argparse.Namespace) -> str:
    form = "of the form NAME=PATH"
    groups = dict(_split(args.groups, form))
    for name, data in _split(args.pairs, form):
        csv = groups.get(name)
        prepared.prepare(
            name,
            Path(data),
            args.sets,
            args.image_size,
            Path(csv) if csv else None,
            _RESIZES[args.resize],
        )
        notices.say(f"{name}: {len(prepared.draws_of(args.sets / name)[0].train)} training photos")
    return f"written to {args.sets}"


def _split(words: Sequence[str], form: str) -> list[tuple[str, str]]:
    parser = argparse.ArgumentParser(prog="python -m studies.taught prepare")
    return pairs(parser, words, form)


def _table(args: argparse.Namespace) -> str:
    unknown = next((name for name in args.detectors if name not in DETECTORS), None)
    if unknown is not None or args.jobs < 1:
        raise UsageError(
            f"unknown detector '{unknown}'; choose of: {', '.join(DETECTORS)}"
            if unknown is not None
            else "--jobs must be at least 1"
        )
    sets = prepared.sets_in(args.sets, args.sets_only)
    plan = cells.planned(sets, args.detectors, args.photos, args.draws)
    cells.measure_all(plan, sets, args.out / _CELLS, args.jobs)
    return _written(args.out)


def _train(args: argparse.Namespace) -> str:
    path = prepared.sets_in(args.sets, (args.name,))[args.name]
    if not 0 <= args.seed < prepared.DRAWS:
        raise UsageError(f"--seed must be from 0 to {prepared.DRAWS - 1}: it is a draw, too")
    file = args.out / _CELLS
    trained.measure(args.model, args.name, path, args.seed, args.steps, args.device, file)
    return _written(args.out)


def _written(out: Path) -> str:
    text = report.markdown(cells.lines(out / _CELLS))
    files.write_text(out / _TABLE, f"{cpu.model_name()}\n\n{text}\n")
    return text


if __name__ == "__main__":
    sys.exit(main())
