"""``metrics.jsonl`` of a run folder: losses, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgead import files, strict_json
from edgead.errors import EdgeadError, TrainingError
from edgead.strict_json import Source


def read(path: Path) -> list[dict[str, Any]]:
    """Read the lines; those that a full disk or a power cut has torn are left out.

    Raises:
        TrainingError: The file cannot be read.
    """
    try:
        data = files.read_regular(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    return [line for line in map(_parsed, data.splitlines()) if line is not None]


def append(path: Path, values: Mapping[str, Any]) -> None:
    """Add a line."""
    with path.open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def drop_after(path: Path, step: int) -> None:
    """Forget lines after a step, so that a resumed log has each step once."""
    kept = [line for line in read(path) if _is_until(line.get("step", 0), step)]
    if path.exists():
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        data = strict_json.parse(line, Source("a line", EdgeadError, ""))
    except EdgeadError:
        return None
    return data if isinstance(data, dict) else None


def _is_until(value: Any, step: int) -> bool:
    return isinstance(value, (int, float)) and value <= step
