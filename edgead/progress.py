"""Progress of long work, with an estimate of the time left, on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from edgead import notices

_Item = TypeVar("_Item")
_TERMINAL_INTERVAL = 0.2
_LOG_INTERVAL = 10.0


def progress(items: Iterable[_Item], total: int, label: str, done: int = 0) -> Iterator[_Item]:
    """Pass items through and report how far they are.

    On a terminal one line is rewritten in place; elsewhere a line is printed at most every ten
    seconds, so that a log stays short.

    Args:
        items: What to iterate over.
        total: Number of items of the whole work.
        label: What the work is.
        done: Items that an earlier session did; they count as done but not for the estimate.

    Yields:
        The items.
    """
    terminal = notices.is_terminal()
    show = notices.overwrite if terminal else notices.say
    interval = _TERMINAL_INTERVAL if terminal else _LOG_INTERVAL
    start = shown = time.monotonic()
    count = done
    try:
        for item in items:
            yield item
            count += 1
            now = time.monotonic()
            if now - shown >= interval:
                shown = now
                left = (now - start) / (count - done) * (total - count)
                show(f"{label}: {count}/{total} ({count / total:.0%}), {duration(left)} left")
    finally:
        if terminal and shown != start:
            notices.overwrite("")


def duration(seconds: float) -> str:
    """Write a duration as a person would: ``9 s``, ``4 min 10 s``, ``2 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
