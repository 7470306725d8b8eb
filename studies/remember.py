"""Keeping what a long benchmark has measured, so that it goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgead
from edgead import files, notices, strict_json
from edgead.artifact import read_artifact
from edgead.errors import UsageError
from edgead.strict_json import Source


def run_key(run: str, data: str) -> dict[str, Any]:
    """Return what the figures of a finished training, or a taught file, depend on."""
    from edgead.training import Run

    manifest = read_artifact(run).manifest if Path(run).is_file() else Run(run).read_manifest()
    return {
        **manifest.detector,
        "data": str(Path(data).resolve()),
        "edgead_version": edgead.__version__,
    }


@dataclass(frozen=True)
class _Stored:
    key: dict[str, Any]
    result: Any


def recalled(file: Path, key: Mapping[str, Any]) -> Any | None:
    """Return what a file holds for a key; ``None`` where it is missing or has another key.

    Raises:
        UsageError: The file is damaged, or another file.
    """
    if not file.is_file():
        return None
    advice = "remove it to measure again"
    read = strict_json.read(file, UsageError, advice)
    stored = strict_json.build(_Stored, read, Source(str(file), UsageError, advice))
    return stored.result if stored.key == key else None


def remembered(file: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Return what a file holds for a key, or make it and write the file.

    Raises:
        UsageError: The file is there and damaged, or another file.
    """
    known = recalled(file, key)
    if known is not None:
        notices.say(f"{file} is there, not measured again")
        return known
    made = make()
    files.write_json(file, {"key": key, "result": made})
    return made
