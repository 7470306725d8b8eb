"""Photos that are there more than once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from edgead import files

Digest = Callable[[Path], str]
"""Hashes the content of a file."""


def identical(
    first: Sequence[Path], second: Sequence[Path], digest: Digest = files.sha256_file
) -> list[tuple[Path, Path]]:
    """Find byte-identical files, under whatever names: (one of the first, one of the second)."""
    sizes: dict[int, list[Path]] = defaultdict(list)  # files of one size alone are read
    for path in first:
        sizes[path.stat().st_size].append(path)
    digests: dict[Path, str] = {}

    def once(path: Path) -> str:
        if path not in digests:
            digests[path] = digest(path)
        return digests[path]

    return [
        (path, other)
        for other in second
        for path in sizes.get(other.stat().st_size, [])
        if once(path) == once(other)
    ]


def copies(photos: Sequence[Path], digest: Digest = files.sha256_file) -> list[tuple[Path, Path]]:
    """Find byte-identical files among some: (the first of them, a later one)."""
    sizes = Counter(path.stat().st_size for path in photos)
    first: dict[str, Path] = {}
    found = []
    for path in photos:
        if sizes[path.stat().st_size] > 1:  # others need not be read
            found_digest = digest(path)
            if first.setdefault(found_digest, path) != path:
                found.append((first[found_digest], path))
    return found
