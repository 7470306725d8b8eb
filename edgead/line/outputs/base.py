"""The contract of an output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from edgead.line.control import Controlled
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
        uses_pictures: Whether it gets the frame and the detection as well. They are large: in the
            queues of other outputs they would fill the memory.
        delay_s: How long after :attr:`~edgead.line.verdict.Judged.since` a verdict is delivered:
            the way of a part from the camera to the gate. 0: at once.
        latest_s: A verdict that is delivered later than this after its time is turned into a
            failure: a "good" that comes late would let another part pass.
    """

    Options: ClassVar[type]
    is_control: ClassVar[bool] = False
    queue: ClassVar[int] = 100
    uses_pictures: ClassVar[bool] = False
    delay_s: float = 0.0
    latest_s: float = math.inf

    def __init__(self, options: Any, station: str) -> None:
        self.options = options
        self.station = station
        self.controlled: Controlled | None = None

    def bind(self, station: Controlled) -> None:
        """Get the station before the first ``open``; for outputs that take commands or show it."""
        self.controlled = station

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
            OutputError: It could not be sent; it is lost. The output must be able to go on.
            DisconnectedError: The peer is gone; ``close`` and ``open`` follow, and then the same
                verdict once more, unless the output is a control.
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

    def check(self) -> None:  # noqa: B027  # a file or a line has no peer
        """Look after the peer; called about every second while there is nothing to deliver.

        Raises:
            OutputError: It is gone; ``close`` and ``open`` follow.
        """

    @abstractmethod
    def close(self) -> None:
        """Go to the rejecting state and release all; raises nothing, and may be called twice."""
