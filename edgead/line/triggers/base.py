"""The contract of a trigger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

Fire: TypeAlias = Callable[[], bool]
"""Called by a trigger for each part, from any thread, and returns at once. ``False`` if the station
has too many triggers waiting: that one is counted as missed and is rejected."""


class Trigger(ABC):
    """Events from outside: a light barrier, a message, a coil.

    Attributes:
        Options: A frozen dataclass of the keys under ``trigger`` in the configuration, as for a
            source.
    """

    Options: ClassVar[type]

    def __init__(self, options: Any, station: str) -> None:
        self.options = options
        self.station = station

    @abstractmethod
    def start(self, fire: Fire) -> None:
        """Begin to call ``fire``; returns at once.

        Raises:
            EdgeadError: What it listens to is absent, busy or refused.
        """

    @abstractmethod
    def stop(self) -> None:
        """End. It raises nothing, and may be called twice."""

    def fault(self) -> str | None:
        """Say why no trigger can come at present (broker gone, line lost), or ``None``."""
        return None
