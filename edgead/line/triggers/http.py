"""Each ``POST /api/stations/NAME/trigger`` at the page's server is a part.

The page calls :meth:`edgead.line.control.Controlled.fire`; it needs the token, as all that changes
something.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgead.line.triggers.base import Fire, Trigger


@dataclass(frozen=True)
class HttpOptions:
    """It has no keys: the address is that of ``serve``."""


class Http(Trigger):
    """Nothing to start: the page's server knows from the station's status that it may fire."""

    Options = HttpOptions

    def start(self, fire: Fire) -> None:
        """Nothing: the page fires."""

    def stop(self) -> None:
        """Nothing."""
