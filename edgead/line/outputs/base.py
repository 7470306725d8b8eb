"""The contract of an output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from edgead.line.verdict import Judged


class Output(ABC):
    """One place where verdicts go. All calls come from one thread of its own.

    :class:`edgead.line.delivery.Delivery` calls it behind a bounded queue, so a call may take its
    time; it then costs verdicts of this output alone.

    Attributes:
        Options: A frozen dataclass of the keys of an ``output`` in the configuration, as for a
            source.
        is_control: Whether it moves parts (a gate, a PLC). While such an output is stuck or
            failing, every part is rejected on all outputs.
        queue: Verdicts that may wait; the oldest is dropped and counted when one more comes.
    """

    Options: ClassVar[type]
    is_control: ClassVar[bool] = False
    queue: ClassVar[int] = 100

    def __init__(self, options: Any, station: str) -> None:
        self.options = options
        self.station = station

    @abstractmethod
    def open(self) -> None:
        """Connect, in the rejecting state.

        Raises:
            EdgeadError: It is absent, busy or refuses; the message has the next step.
        """

    @abstractmethod
    def deliver(self, judged: Judged) -> None:
        """Send one verdict, and return when it is out.

        Raises:
            OutputError: It could not be sent. The output must be able to go on.
        """

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Go to the rejecting state: the station judges nothing at present.

        Args:
            reason: A sentence.
        """

    @abstractmethod
    def recover(self) -> None:
        """The station judges again; verdicts follow."""

    @abstractmethod
    def close(self) -> None:
        """Go to the rejecting state and release all; raises nothing, and may be called twice."""
