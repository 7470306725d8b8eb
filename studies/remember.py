"""Keeping what a long benchmark has measured, so that it goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgead
from edgead import files, notices, strict_json
from edgead.errors import UsageError
from edgead.strict_json import Source


def run_key(run: str, data: str) -> dict[str, Any]:
    """Return what a finished training's figures depend on, besides this machine."""
    from edgead.training import Run

    return {
        **Run(run).read_manifest().detector,
        "data": str(Path(data).resolve()),
        "edgead_version": edgead.__version__,
    }


@dataclass(frozen=True)
class _Stored:
    key: dict[str, Any]
    result: Any


def remembered(file: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Return what a file holds for a key, or make it and write the file.

    Raises:
        UsageError: The file is there and damaged, or another file.
    """
    if file.is_file():
        advice = "remove it to measure again"
        source = Source(str(file), UsageError, advice)
        read = strict_json.read(file, UsageError, advice)
        stored = strict_json.build(_Stored, read, source)
        if stored.key == key:
            notices.say(f"{file} is there, not measured again")
            return stored.result
    made = make()
    files.write_json(file, {"key": key, "result": made})
    return made
