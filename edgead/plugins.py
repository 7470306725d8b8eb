"""What other packages bring by entry points.

A module of a stranger raises anything when it is imported, and must stop nothing but itself.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgead.printable import printable

_MOST_CHARACTERS = 300


class PluginError(Exception):
    """Why what a package brings cannot be used; a part of a sentence."""


def points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name; several where packages took the same name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return {name: tuple(entries) for name, entries in sorted(found.items())}


def brought_by(entries: tuple[EntryPoint, ...]) -> str:
    """Name the packages of some entry points."""
    packages = {printable(e.dist.name) if e.dist is not None else "a package" for e in entries}
    return " and ".join(sorted(packages))


def location(entries: tuple[EntryPoint, ...]) -> str:
    """Return what the entry points of one name lead to, as ``module:attribute``.

    Raises:
        PluginError: Packages bring different things under the name.
    """
    if len({point.value for point in entries}) > 1:
        raise PluginError(
            f"{brought_by(entries)} bring it under the same name: keep one of the packages"
        )
    return entries[0].value


def load(where: str) -> Any:
    """Import what an entry point leads to.

    Args:
        where: ``module:attribute``.

    Raises:
        PluginError: It cannot be imported, for whatever reason.
    """
    module, _, attribute = where.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (Exception, SystemExit) as error:
        what = " ".join(printable(f"{type(error).__name__}: {error}").split())
        raise PluginError(
            f"cannot be imported ({what[:_MOST_CHARACTERS]}): install its package again, or "
            "remove it"
        ) from error
