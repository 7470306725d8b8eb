"""The state of a station, as MQTT, the webhook and the JSON lines send it beside verdicts."""

from __future__ import annotations

import time
from typing import Any, Literal, TypeAlias

from edgead.line.verdict import SCHEMA

Working: TypeAlias = Literal["starting", "judging", "failing", "offline"]


def state_json(station: str, state: Working, reason: str | None = None) -> dict[str, Any]:
    """Return what a station does at present. Verdicts have a number, and this has none.

    Args:
        station: Its name.
        state: ``judging``; or all parts are rejected: ``starting``, ``failing``, ``offline``.
        reason: Why it fails, a sentence.
    """
    return {
        "schema": SCHEMA,
        "station": station,
        "state": state,
        "at": time.time(),
        "reason": reason,
    }
