"""``edgead models``."""

from __future__ import annotations

import argparse

from edgead.cli import _options


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
    """Print a paragraph for each detector."""
    from edgead.models import model_names
    from edgead.models.options import spelled
    from edgead.models.registry import model_class

    for name in model_names():
        model = model_class(name)
        recipe = model.recipe
        print(name)
        if model.__doc__:  # not under python -OO
            print(f"    {model.__doc__.splitlines()[0]}")
        print(
            f"    trains {recipe.steps:,} steps of {recipe.batch_size} photos, "
            f"{recipe.cpu_steps:,} without a GPU{spelled(recipe.cpu_options)} ({recipe.reference})"
        )
        for option, declared in model.declared_options.items():
            print(f"    --option {option}=...  {declared.help}: {declared}")
    return 0
