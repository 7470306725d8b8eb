"""What was calibrated before need not be calibrated again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edgead import files, notices
from edgead.errors import EdgeadError


def folder() -> Path:
    """Return the cache's folder: ``$EDGEAD_CACHE``, or ``edgead`` in the user's cache folder."""
    chosen = os.environ.get("EDGEAD_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgead"


def remembered(
    kind: str, key: tuple[str, ...], make: Callable[[], bytes], sha256: str | None = None
) -> bytes:
    """Return what was stored under a key, or make and store it.

    Args:
        kind: What it is; begins the file's name.
        key: Everything that the content depends on: model, method, preprocessing, photos.
        make: Called when nothing is stored.
        sha256: Of the content, where it is known beforehand: another content is made again.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()
    path = folder() / f"{kind}-{digest[:32]}"
    with contextlib.suppress(OSError):  # nothing is stored, or it cannot be read: make it again
        stored = files.read_regular(path)
        body, seal = stored[:-32], stored[-32:]
        found = hashlib.sha256(body)
        if found.digest() == seal and sha256 in (None, found.hexdigest()):  # else it is damaged
            return body
    made = make()
    try:
        files.write_bytes(path, made + hashlib.sha256(made).digest())
    except EdgeadError as error:  # without a cache everything works, only slower
        notices.warn(
            f"{error}. Without this cache the next run takes longer: set $EDGEAD_CACHE to a "
            "writable folder"
        )
    return made
