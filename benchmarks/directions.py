"""Which pictures should say what directions of a difference to keep when a detector is compressed.

    python -m edgead.benchmarks.directions OUT RUN=DATA [RUN=DATA ...] [--keep 16,32,64]

Needs the training install. For each run the differences of features are projected onto their first
principal directions, and nothing else is changed. The directions are taken from the good photos
that the training held out, from synthetic defects of them, from generated pictures, or from all
three as ``--compress`` does. The labelled photos are looked at only afterwards. Writes
``OUT/directions.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import files, images, metrics
from edgead.cli import _options
from edgead.datasets import Dataset
from edgead.errors import EdgeadError

_HEADER = ("run", "directions from", "kept", "energy left out", "image AUROC", "rank correlation")
_PLACES = 256


def measure(run: str, data: str, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield one row for each source of directions and number of them, the whole detector first."""
    import onnx

    from edgead.calibration.photos import CalibrationPhotos
    from edgead.export.compress.moments import observe
    from edgead.export.compress.network import Network
    from edgead.export.compress.photos import kinds
    from edgead.export.compress.projection import difference_samples, principal_directions
    from edgead.export.parity import rank_correlation
    from edgead.export.refit import refit_head
    from edgead.export.source import Source

    source = Source.open(run)
    size = source.manifest.input.size
    photos = CalibrationPhotos.read(
        source.calibration_photos(None), size, source.learned_photos(None)
    )
    test = Dataset.from_folder(data).test_photos()
    batch = np.stack([images.resize(images.read_image(photo.path), size) for photo in test])
    labels = [photo.is_anomalous for photo in test]
    original = Network(onnx.load_from_string(source.graph))
    whole = _scores(original.model, batch)
    yield _row("", None, None, metrics.auroc(labels, whole.tolist()), None)
    pictures = kinds(photos)
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
            made = refit_head(original.model, network.finished(), photos.good)
            scores = _scores(made, batch)
            yield _row(
                name,
                count,
                float(np.mean(left)),
                metrics.auroc(labels, scores.tolist()),
                rank_correlation(whole, scores),
            )


def _scores(model: Any, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    from edgead.calibration.probe import probe

    found = probe(model, ["score"], (photo[None] for photo in batch))
    return np.concatenate([scores for (scores,) in found])


def _row(
    name: str, kept: int | None, left: float | None, auroc: float | None, rank: float | None
) -> dict[str, Any]:
    return {"from": name, "kept": kept, "energy_left": left, "image_auroc": auroc, "rank": rank}


def table(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return Markdown."""
    lines = [_HEADER, ("---",) * len(_HEADER)]
    for run, rows in runs.items():
        for row in rows:
            lines.append(
                (
                    Path(run).name,
                    row["from"] or "whole detector",
                    str(row["kept"] or "all"),
                    "" if row["energy_left"] is None else f"{row['energy_left']:.1%}",
                    "-" if row["image_auroc"] is None else f"{row['image_auroc']:.4f}",
                    "" if row["rank"] is None else f"{row['rank']:.4f}",
                )
            )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_options.positive_int(word) for word in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m edgead.benchmarks.directions")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the tables")
    parser.add_argument("pairs", nargs="+", metavar="RUN=DATA", help="run folder = labelled photos")
    parser.add_argument(
        "--keep", type=_counts, default=(16, 32, 64), metavar="LIST", help="default: 16,32,64"
    )
    args = parser.parse_args(arguments)
    runs: dict[str, list[dict[str, Any]]] = {}
    try:
        for pair in args.pairs:
            run, _, data = pair.rpartition("=")
            if not run:
                parser.error(f"'{pair}' is not RUN=DATA")
            runs[run] = list(measure(run, data, args.keep))
            files.write_text(args.out / "directions.md", table(runs))
            files.write_json(args.out / "directions.json", runs)
    except EdgeadError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
