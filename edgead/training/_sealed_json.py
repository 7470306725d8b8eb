"""JSON files of a run folder with a checksum inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from edgead.strict_json import Source

_KEY = "seal"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with its checksum."""
    return {**content, _KEY: _digest(content)}


def check(content: Mapping[str, Any], source: Source) -> None:
    """Check that content is as it was sealed.

    Raises:
        EdgeadError: It was changed, or carries no checksum.
    """
    rest = {key: value for key, value in content.items() if key != _KEY}
    if content.get(_KEY) != _digest(rest):
        source.fail("was changed or damaged (it does not match its checksum)")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
