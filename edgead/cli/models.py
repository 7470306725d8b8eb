"""``edgead models``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgead.cli import _options

if TYPE_CHECKING:
    from edgead.models import AnomalyModel


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "models",
        help="list the detectors and their options",
        description="List the detectors that can be trained, and the options of each for 'edgead "
        "train --option NAME=VALUE' (needs edgead[train]). 'edgead teach' makes others, patchcore "
        "and padim, without training.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a paragraph for each detector, those of packages included."""
    from edgead.models import model_names
    from edgead.models.registry import model_class, unusable_models

    for name in model_names():
        model = model_class(name)
        print(name)
        summary = (model.__doc__ or "").strip().partition("\n")[0]  # none under python -OO
        if summary:
            print(f"    {summary}")
        print(f"    {_training(model)}")
        for option, declared in model.declared_options.items():
            print(f"    --option {option}=...  {declared.help}: {declared}")
    for unusable in unusable_models():
        print(unusable.name)
        print(f"    not available: {unusable.reason}")
    return 0


def _training(model: type[AnomalyModel]) -> str:
    """Say how a detector is trained by default."""
    from edgead.models import GradientModel
    from edgead.models.options import spelled

    if not issubclass(model, GradientModel):
        return "training: fitted to the photos without gradient steps"
    recipe = model.recipe
    return (
        f"training: {recipe.steps:,} steps, batch size {recipe.batch_size} ({recipe.reference}); "
        f"without a GPU {recipe.cpu_steps:,} steps{spelled(recipe.cpu_options)}"
    )
