"""Where the reader of a source, the triggers and the loop of a station meet.

The reader puts frames in, triggers put tickets in, and the loop takes a ticket and then the frame
that belongs to it: the first that arrived after the trigger, also if the loop was busy then.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from edgead.line.sources.base import Grabbed

MOST_WAITING = 16
"""Triggers that may wait, each with its frame."""


@dataclass
class Ticket:
    """The right to one verdict.

    Attributes:
        after: ``time.monotonic()`` of the trigger.
        earliest: Frames that arrived before it do not count.
        frame: The frame that belongs to it; ``None`` until it has arrived.
        missed: Above 0: it stands for so many triggers for which there was no room.
    """

    after: float
    earliest: float
    frame: Grabbed | None = None
    missed: int = 0


class Mailbox:
    """Frames and tickets; every method may be called from any thread.

    Args:
        is_live: Whether only the newest frame counts. Otherwise each frame waits for its ticket.
        camera_s: A frame that arrives sooner after a trigger was taken before it.

    Attributes:
        frames: Frames that were put in.
        lost: Frames of a live source that belong to no ticket.
    """

    def __init__(self, is_live: bool, camera_s: float = 0.0) -> None:
        self._is_live = is_live
        self._camera_s = camera_s
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._current: Ticket | None = None
        self._unused: Grabbed | None = None
        self._is_judged = False
        self._has_ended = False
        self._is_closed = False
        self.frames = 0
        self.lost = 0

    def put(self, frame: Grabbed) -> bool:
        """Hand in a frame. Of a source that is not live: wait until it has its verdict.

        Returns:
            Whether it was judged, for a source that is not live.
        """
        with self._changed:
            self.frames += 1
            if self._is_live:
                self.lost += self._unused is not None
                self._unused = frame
                self._assign()
                self._changed.notify_all()
                return False
            self._unused, self._is_judged = frame, False
            self._assign()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_judged or self._is_closed)
            return self._is_judged

    def fire(self) -> bool:
        """Add a ticket; ``False`` if too many wait: that one will be rejected in its turn."""
        now = time.monotonic()
        with self._changed:
            has_room = sum(not ticket.missed for ticket in self._waiting) < MOST_WAITING
            if has_room:
                self._waiting.append(Ticket(now, now + self._camera_s))
                self._assign()
            elif self._waiting[-1].missed:
                self._waiting[-1].missed += 1
            else:
                self._waiting.append(Ticket(now, now, missed=1))
            self._changed.notify_all()
            return has_room

    def take(self) -> Ticket | None:
        """Wait for the oldest ticket; ``None`` when there will be no more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._is_closed or (self._has_ended and not self._unused)
            )
            if self._is_closed or not self._waiting:
                return None
            self._current = self._waiting.popleft()
            return self._current

    def expect(self, after: float) -> Ticket:
        """Make a ticket without a trigger, for the next frame that arrives after a time."""
        with self._changed:
            self._current = Ticket(after, after)
            self._assign()
            return self._current

    def wait(self, ticket: Ticket, until: float | None) -> Grabbed | None:
        """Wait for the frame of the ticket that was taken last.

        Args:
            ticket: Of :meth:`take` or :meth:`expect`.
            until: ``time.monotonic()``; ``None`` to wait for as long as there are frames.

        Returns:
            The frame; ``None`` if there was none in time, or there will be none.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: ticket.frame is not None or self._is_closed or self._has_ended,
                None if until is None else max(0.0, until - time.monotonic()),
            )
            self._current = None
            return ticket.frame

    def judged(self) -> None:
        """Say that the frame of the last ticket has its verdict."""
        with self._changed:
            self._is_judged = True
            if not self._is_live:
                self._changed.notify_all()

    def sleep(self, until: float) -> None:
        """Wait for a time, or for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, max(0.0, until - time.monotonic()))

    def end(self) -> None:
        """Say that no more frames come; those that are here are judged."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody who waits return at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    @property
    def has_ended(self) -> bool:
        """Whether no more verdicts can come."""
        return self._is_closed or self._has_ended

    @property
    def waiting(self) -> int:
        """Triggers that wait."""
        return len(self._waiting)

    def _assign(self) -> None:
        """Give the newest frame to those who wait for it: to one, if it is not of a live source."""
        frame = self._unused
        if frame is None:
            return
        for ticket in (self._current, *self._waiting):
            if ticket is None or ticket.missed or ticket.frame is not None:
                continue
            if not self._is_live:
                ticket.frame, self._unused = frame, None
                return
            if frame.at >= ticket.earliest:
                ticket.frame, self._unused = frame, None
