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
        "train --option NAME=VALUE' (needs edgead[train]).",
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
        return "is fitted to the photos without gradient steps"
    recipe = model.recipe
    return (
        f"trains {recipe.steps:,} steps of {recipe.batch_size} photos, "
        f"{recipe.cpu_steps:,} without a GPU{spelled(recipe.cpu_options)} ({recipe.reference})"
    )
