"""What is installed: distributions that overwrite each other's files, and versions that crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata


def installed(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each named distribution that is installed here."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def conflict(found: Mapping[str, str], wanted: str) -> str | None:
    """Say that several distributions share one folder; ``None`` where there is one at most.

    Args:
        found: Distributions that install the same package, with their versions.
        wanted: The one to keep.
    """
    if len(found) < 2:
        return None
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    return (
        f"{both} are installed side by side and overwrite each other's files: "
        f"pip uninstall -y {' '.join(found)} && pip install {wanted}"
    )
