"""What a fine-tune by gradients buys after a compression, beyond its closed forms.

    python -m edgead.benchmarks.finetune OUT RUN=DATA [RUN=DATA ...] --compress GMAC
        [--steps N] [--rate RATE]

Needs the training install. Compresses each run's detector, turns the graph into a PyTorch module,
and trains all of its convolutions so that the differences of features become those of the original
detector: on good photos that the training held out, flipped, with new synthetic defects, and on
generated pictures. The labelled photos are looked at only afterwards. Writes ``OUT/finetune.md``
and ``.json``. docs/compression.md says what was found.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgead import files
from edgead.benchmarks.labelled import Trial
from edgead.benchmarks.script import pairs, runs_parser, told
from edgead.calibration.pictures import generate
from edgead.calibration.synthetic import with_defect
from edgead.cli import _options
from edgead.markdown import figure, table
from edgead.progress import progress

if TYPE_CHECKING:
    import onnx
    import torch

    from edgead.export.compress.compressor import Compressor

_HEADER = ("run", "graph", "GMAC", "error of the differences", "image AUROC", "rank correlation")
_SEED = 5
_BATCH = 2
_TESTED = 16  # pictures that the error is measured on; none of them is trained on
_GENERATED, _DEFECTIVE = 0.15, 0.5  # shares of the pictures


def measure(
    run: str, data: str, target: float, steps: int, rate: float
) -> Iterator[dict[str, Any]]:
    """Yield one row each for the original, the compressed graph, and the fine-tuned one.

    Args:
        run: Run folder of a detector whose map is a sum of squared differences.
        data: Labelled photos.
        target: GMAC.
        steps: Of two pictures.
        rate: Learning rate, as a share of each tensor's root mean square.
    """
    from edgead.export.compress.compressor import Compressor
    from edgead.export.parity import rank_correlation
    from edgead.export.refit import refit_head

    trial = Trial.of(run, data)
    compressor = Compressor(trial.model, trial.photos)
    whole = trial.scores(trial.model)

    def row(name: str, model: Any, gmac: float, error: float | None) -> dict[str, Any]:
        scores = trial.scores(model)
        rank = rank_correlation(whole, scores)
        auroc = trial.auroc(scores)
        return {"graph": name, "gmac": gmac, "error": error, "image_auroc": auroc, "rank": rank}

    yield row("original", trial.model, compressor.gmac, None)
    made = compressor.compress(target)
    good = trial.photos.all_good
    student = _Tuned(compressor, target, made.model)
    yield row("closed forms", made.model, made.gmac, student.error(_pictures(good, _SEED + 1)))
    start = time.perf_counter()
    student.fit(_pictures(good, _SEED), steps, rate)
    name = f"{steps} steps more, {time.perf_counter() - start:.0f} s"
    error = student.error(_pictures(good, _SEED + 1))
    tuned = refit_head(trial.model, student.graph(), trial.photos.good)
    yield row(name, tuned, made.gmac, error)


def _pictures(good: npt.NDArray[np.uint8], seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw pictures, uint8 ``[height, width, 3]`` BGR, without end."""
    rng = np.random.default_rng(seed)
    while True:
        kind = rng.random()
        if kind < _GENERATED:
            (picture,) = generate(1, good.shape[1:3], int(rng.integers(2**31)))
        else:
            picture = good[rng.integers(len(good))]
            if kind < _GENERATED + _DEFECTIVE:
                picture = with_defect(picture, rng)
            flips = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
            picture = np.flip(picture, flips)
        yield np.ascontiguousarray(picture)


class _Tuned:
    """A compressed graph as a PyTorch module, and the original as what it shall be like."""

    def __init__(self, compressor: Compressor, target: float, compressed: onnx.ModelProto) -> None:
        from edgead.export.compress.network import Network

        original = Network(compressor.original)
        self._weights = [difference.weight for difference in original.differences]
        self._original = _Graph(original.model, [d.tensor for d in original.differences])
        changed = Network(compressed).differences
        self._model = compressed
        self._changed = _Graph(compressed, [difference.tensor for difference in changed])
        self._directions = compressor.directions(target)

    def error(self, pictures: Iterator[npt.NDArray[np.uint8]]) -> float:
        """Return the energy of what the differences are off by, as a share of theirs."""
        import torch

        with torch.inference_mode():
            found = [self._losses([next(pictures)]) for _ in range(_TESTED)]
        return sum(float(lost) for lost, _ in found) / sum(float(energy) for _, energy in found)

    def fit(self, pictures: Iterator[npt.NDArray[np.uint8]], steps: int, rate: float) -> None:
        """Adam with a cosine; each tensor moves at a rate that fits its size."""
        import torch

        parameters = list(self._changed.trained.values())
        sizes = [float(values.detach().square().mean().sqrt()) for values in parameters]
        groups = [{"params": [p], "lr": rate * s} for p, s in zip(parameters, sizes, strict=True)]
        optimizer = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2,
        )
        for _ in progress(range(steps), total=steps, label="fine-tune"):
            lost, energy = self._losses([next(pictures) for _ in range(_BATCH)])
            optimizer.zero_grad()
            (lost / energy).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()

    def graph(self) -> onnx.ModelProto:
        """Return the compressed graph with the weights of now."""
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for tensor in model.graph.initializer:
            if tensor.name in self._changed.trained:
                values = self._changed.trained[tensor.name].detach().numpy()
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model

    def _losses(self, pictures: list[npt.NDArray[np.uint8]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted energy of the error, and of the differences themselves."""
        import torch

        batch = torch.from_numpy(np.stack(pictures))
        with torch.no_grad():
            wanted = [
                torch.einsum("nchw,ck->nkhw", values, torch.from_numpy(kept))
                for values, kept in zip(self._original(batch), self._directions, strict=True)
            ]
        found = self._changed(batch)
        errors = [one - other for one, other in zip(found, wanted, strict=True)]
        return self._energy(errors), self._energy(wanted)

    def _energy(self, differences: list[torch.Tensor]) -> torch.Tensor:
        """Return the mean of the map, without its constant, that differences would give."""
        import torch

        squares = [values.square().sum(1).mean() for values in differences]
        weighted = [w * square for w, square in zip(self._weights, squares, strict=True)]
        return torch.stack(weighted).sum()


class _Graph:
    """Runs a graph of EfficientAd in PyTorch, as far as some activations.

    Attributes:
        trained: Weights and biases of the convolutions.
    """

    def __init__(self, model: onnx.ModelProto, ends: Sequence[str]) -> None:
        import torch
        from onnx import helper, numpy_helper

        self._ends = list(ends)
        values = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        self._constants = {name: torch.from_numpy(value) for name, value in values.items()}
        self.trained: dict[str, torch.Tensor] = {}
        self._steps: list[tuple[Any, dict[str, Any]]] = []
        needed = set(ends)
        for node in reversed(model.graph.node):
            if needed & set(node.output):
                needed.update(node.input)
                attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                self._steps.insert(0, (node, attributes))
                if node.op_type == "Conv":
                    for name in node.input[1:]:
                        self.trained[name] = self._constants[name].requires_grad_()

    def __call__(self, image: torch.Tensor) -> list[torch.Tensor]:
        values = {**self._constants, "image": image}
        for node, attributes in self._steps:
            inputs = [values[name] for name in node.input if name]
            values[node.output[0]] = _OPERATORS[node.op_type](inputs, attributes)
        return [values[name] for name in self._ends]


def _conv(inputs: list[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    from torch.nn.functional import conv2d

    top, left, _, _ = attributes.get("pads", (0, 0, 0, 0))  # equal ones at the other sides
    bias = inputs[2] if len(inputs) > 2 else None
    return conv2d(
        inputs[0], inputs[1], bias, attributes.get("strides", (1, 1)), padding=(top, left)
    )


def _concat(inputs: list[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    import torch

    return torch.cat(inputs, attributes["axis"])


def _average_pool(inputs: list[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    from torch.nn.functional import avg_pool2d

    top, left, _, _ = attributes.get("pads", (0, 0, 0, 0))
    return avg_pool2d(
        inputs[0],
        attributes["kernel_shape"],
        attributes["strides"],
        (top, left),
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )


def _resize(inputs: list[torch.Tensor], _: Mapping[str, Any]) -> torch.Tensor:
    from torch.nn.functional import interpolate

    values, target = inputs
    sides = [float(side) for side in target[2:]]
    if target.dtype.is_floating_point:  # scales, not sizes
        sides = [side * scale for side, scale in zip(values.shape[2:], sides, strict=True)]
    size = [round(side) for side in sides]
    return interpolate(values, size=size, mode="bilinear", align_corners=False)


_OPERATORS: Mapping[str, Any] = {
    "AveragePool": _average_pool,
    "Cast": lambda inputs, _: inputs[0].float(),
    "Concat": _concat,
    "Conv": _conv,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "ReduceSum": lambda inputs, attributes: inputs[0].sum(
        inputs[1].tolist(), keepdim=bool(attributes["keepdims"])
    ),
    "Relu": lambda inputs, _: inputs[0].relu(),
    "Resize": _resize,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
}


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return Markdown."""
    rows = [
        (
            Path(run).name,
            row["graph"],
            f"{row['gmac']:.3g}",
            "" if row["error"] is None else f"{row['error']:.2%}",
            figure(row["image_auroc"]),
            "" if row["rank"] is None else f"{row['rank']:.4f}",
        )
        for run, found in runs.items()
        for row in found
    ]
    return table(_HEADER, rows)


def _target(text: str) -> float:
    found = _options.compression(text)
    if isinstance(found, str):
        raise argparse.ArgumentTypeError("give a number of GMAC: nothing is searched here")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = runs_parser("finetune")
    parser.add_argument(
        "--compress", type=_target, required=True, metavar="GMAC", help="left by the compression"
    )
    parser.add_argument("--steps", type=_options.positive_int, default=400, metavar="N")
    parser.add_argument(
        "--rate",
        type=float,
        default=3e-4,
        help="learning rate, as a share of each tensor's root mean square (default: 3e-4)",
    )
    args = parser.parse_args(arguments)
    runs = pairs(parser, args.pairs, "RUN=DATA")
    return told(functools.partial(_measured, args.out, runs, args.compress, args.steps, args.rate))


def _measured(
    out: Path, asked: Sequence[tuple[str, str]], target: float, steps: int, rate: float
) -> str:
    """Measure all runs and return the table; what is measured is written at once."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run, data in asked:
        runs[run] = list(measure(run, data, target, steps, rate))
        files.write_text(out / "finetune.md", f"{summary(runs)}\n")
        files.write_json(out / "finetune.json", runs)
    return summary(runs)


if __name__ == "__main__":
    sys.exit(main())
