"""What docs/reference/json.md says of a file, and the keys that a file has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).parents[1] / "docs/reference/json.md"


def documented(title: str) -> set[str]:
    """Everything that is set as code in the section whose title contains ``title``."""
    (section,) = (part for part in _PAGE.read_text().split("\n## ") if title in part.split("\n")[0])
    return set(re.findall(r"`([\w.]+)`", section))


def keys(value: Any, foreign: Collection[str] = ()) -> Iterator[str]:
    """Every key of a JSON value, but not those below ``foreign`` keys, which are names."""
    if isinstance(value, list):
        for one in value:
            yield from keys(one, foreign)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            if key not in foreign:
                yield from keys(one, foreign)
