"""Which pictures should say what directions of a difference to keep when a detector is compressed.

    python -m edgead.benchmarks.directions OUT RUN=DATA [RUN=DATA ...] [--keep 16,32,64]

Needs the training install. For each run the differences of features are projected onto their first
principal directions, and nothing else is changed. The directions are taken from the good photos
that the training held out, from synthetic defects of them, from generated pictures, or from all
three as ``--compress`` does. The labelled photos are looked at only afterwards. Writes
``OUT/directions.md`` and ``.json``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgead import files
from edgead.benchmarks.labelled import Trial
from edgead.benchmarks.script import pairs, runs_parser, told
from edgead.cli import _options
from edgead.markdown import figure, table

_HEADER = ("run", "directions from", "kept", "energy left out", "image AUROC", "rank correlation")
_PLACES = 256


def measure(run: str, data: str, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield one row for each source of directions and number of them, the whole detector first."""
    from edgead.export.compress.moments import observe
    from edgead.export.compress.network import Network
    from edgead.export.compress.photos import kinds
    from edgead.export.compress.projection import difference_samples, principal_directions
    from edgead.export.parity import rank_correlation
    from edgead.export.refit import refit_head

    trial = Trial.of(run, data)
    original = Network(trial.model)
    whole = trial.scores(original.model)
    yield _row("", None, None, trial.auroc(whole), None)
    pictures = kinds(trial.photos)
    pictures["all three"] = [batch for kind in pictures.values() for batch in kind]
    ends = [name for d in original.differences for name in d.convolutions]
    for name, drawn in pictures.items():
        observed = observe(original, ends, drawn, _PLACES)
        bases = [
            principal_directions(difference_samples(d, observed)) for d in original.differences
        ]
        for count in counts:
            network, left = Network(original.model), []
            for difference, (directions, energies) in zip(original.differences, bases, strict=True):
                network.project(difference, directions[:, :count])
                left.append(float(energies[count:].sum() / energies.sum()))
            made = refit_head(original.model, network.finished(), trial.photos.good)
            scores = trial.scores(made)
            rank = rank_correlation(whole, scores)
            yield _row(name, count, float(np.mean(left)), trial.auroc(scores), rank)


def _row(
    name: str, kept: int | None, left: float | None, auroc: float | None, rank: float | None
) -> dict[str, Any]:
    return {"from": name, "kept": kept, "energy_left": left, "image_auroc": auroc, "rank": rank}


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return Markdown."""
    rows = [
        (
            Path(run).name,
            row["from"] or "whole detector",
            str(row["kept"] or "all"),
            "" if row["energy_left"] is None else f"{row['energy_left']:.1%}",
            figure(row["image_auroc"]),
            "" if row["rank"] is None else f"{row['rank']:.4f}",
        )
        for run, found in runs.items()
        for row in found
    ]
    return table(_HEADER, rows)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_options.positive_int(word) for word in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = runs_parser("directions")
    parser.add_argument(
        "--keep", type=_counts, default=(16, 32, 64), metavar="LIST", help="default: 16,32,64"
    )
    args = parser.parse_args(arguments)
    runs = pairs(parser, args.pairs, "RUN=DATA")
    return told(functools.partial(_measured, args.out, runs, args.keep))


def _measured(out: Path, asked: Sequence[tuple[str, str]], counts: Sequence[int]) -> str:
    """Measure all runs and return the table; what is measured is written at once."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run, data in asked:
        runs[run] = list(measure(run, data, counts))
        files.write_text(out / "directions.md", f"{summary(runs)}\n")
        files.write_json(out / "directions.json", runs)
    return summary(runs)


if __name__ == "__main__":
    sys.exit(main())
