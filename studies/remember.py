"""Keeping what a long benchmark has measured, so that it goes on where it was interrupted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import edgead
from edgead import files


def run_key(run: str, data: str) -> dict[str, Any]:
    """Return what a finished training's figures depend on, besides this machine."""
    from edgead.training import Run

    return {
        **Run(run).read_manifest().detector,
        "data": str(Path(data).resolve()),
        "edgead_version": edgead.__version__,
    }


def remembered(file: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Return what a file holds for a key, or make it and write the file."""
    if file.is_file():
        stored = json.loads(file.read_text())
        if stored["key"] == key:
            print(f"{file} is there, not measured again", file=sys.stderr)
            return stored["result"]
    made = make()
    files.write_json(file, {"key": key, "result": made})
    return made
