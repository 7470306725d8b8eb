"""Photos that are there more than once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path


def identical(first: Sequence[Path], second: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Find byte-identical files, under whatever names: (one of the first, one of the second)."""
    sizes: dict[int, list[Path]] = defaultdict(list)  # files of one size alone are read
    for path in first:
        sizes[path.stat().st_size].append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            digests[path] = _digest(path)
        return digests[path]

    return [
        (path, other)
        for other in second
        for path in sizes.get(other.stat().st_size, [])
        if digest(path) == digest(other)
    ]


def copies(photos: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Find byte-identical files among some: (the first of them, a later one)."""
    sizes = Counter(path.stat().st_size for path in photos)
    first: dict[bytes, Path] = {}
    found = []
    for path in photos:
        if sizes[path.stat().st_size] > 1:  # others need not be read
            digest = _digest(path)
            if first.setdefault(digest, path) != path:
                found.append((first[digest], path))
    return found


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
