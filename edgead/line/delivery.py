"""Takes verdicts to one output in a thread of its own, so that no output can hold the station up.

Whatever an output does (it blocks, raises, loses its peer), the station only ever appends to a
bounded queue.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgead.errors import EdgeadError
from edgead.line.errors import DisconnectedError, OutputError
from edgead.line.outputs.base import Output
from edgead.line.status import PartStatus
from edgead.line.verdict import Judged
from edgead.printable import printable

STUCK_AFTER_S = 2.0
"""An output that is busy with one verdict for longer is stuck."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_CHECK_EVERY_S = 1.0
_MOST_CHARACTERS = 300


@dataclass(frozen=True)
class _Task:
    """What the thread does next; ``waiting`` for a verdict, ``reason`` for a failure."""

    kind: Literal["verdict", "fail", "recover", "check"]
    waiting: _Waiting | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Waiting:
    judged: Judged
    due: float


class Delivery:
    """One output behind a bounded queue.

    Verdicts are delivered in their order; a failure of the station goes ahead of them. While the
    station fails, a control output gets no "good" verdict, not even an older one.

    Args:
        output: Called from the thread of this delivery alone.
        name: Unique within the station, such as ``output 2 (mqtt)``.
        kind: Of the output, for reports.
        stuck_after_s: Seconds within one call after which the output counts as stuck.
    """

    def __init__(
        self, output: Output, name: str, kind: str = "", stuck_after_s: float = STUCK_AFTER_S
    ) -> None:
        self.output = output
        self.name = name
        self._kind = kind or type(output).__name__.lower()
        self._stuck_after_s = stuck_after_s
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._reason: str | None = None  # why the station fails
        self._must_tell = False  # that it fails, or judges again
        self._is_stopping = False
        self._drain_until = 0.0
        self._is_open = self._was_open = False
        self._error: str | None = None
        self._inside_since: float | None = None
        self._done = self._lost = self._errors = 0
        self._pause_s = _FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._run, name=f"edgead {name}", daemon=True)

    def start(self) -> None:
        """Open the output in its thread; if that fails, again and again until it works."""
        self._thread.start()

    def put(self, judged: Judged) -> None:
        """Hand a verdict over; returns at once. The oldest is dropped when the queue is full."""
        if not self.output.uses_pictures:
            judged = replace(judged, picture=None, detection=None)
        with self._changed:
            if self._reason is not None and self._forbids(judged):
                self._lost += 1
                return
            due = judged.since + self.output.delay_s if self.output.delay_s else time.monotonic()
            self._queue.append(_Waiting(judged, due))
            if len(self._queue) > self.output.queue:
                self._queue.popleft()
                self._lost += 1
            self._changed.notify()

    def fail(self, reason: str) -> None:
        """Tell the output that the station judges nothing at present, ahead of what waits."""
        with self._changed:
            self._must_tell = True
            self._reason = reason
            if self.output.is_control:
                self._drop_all()
            self._changed.notify()

    def recover(self) -> None:
        """Tell the output that the station judges again."""
        with self._changed:
            self._must_tell = self._must_tell or self._reason is not None
            self._reason = None
            self._changed.notify()

    def stop(self, timeout: float = 2.0) -> bool:
        """Deliver what waits, close the output in its rejecting state and end the thread.

        A control output gets nothing more: it rejects at once.

        Args:
            timeout: Seconds to wait.

        Returns:
            Whether it has ended. A thread that is stuck ends with the process.
        """
        with self._changed:
            self._is_stopping = True
            self._drain_until = time.monotonic() + timeout / 2
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def fault(self) -> str | None:
        """What is wrong with the output, a sentence; ``None`` if nothing is."""
        inside_since, error = self._inside_since, self._error
        has_begun = self._thread.ident is not None and not self._is_stopping
        if has_begun and not self._thread.is_alive():
            return f"{self.name}: its thread has ended; start the line again"
        if error is not None:
            return f"{self.name}: {error}"
        if inside_since is not None and time.monotonic() - inside_since > self._stuck_after_s:
            return f"{self.name}: stuck, one call takes longer than {self._stuck_after_s:g} s"
        return None

    def status(self) -> PartStatus:
        """Return counts and health."""
        fault = self.fault
        with self._changed:
            return PartStatus(
                name=self.name,
                kind=self._kind,
                fault=fault,
                done=self._done,
                lost=self._lost,
                errors=self._errors,
                waiting=len(self._queue),
            )

    def _forbids(self, judged: Judged) -> bool:
        return self.output.is_control and judged.verdict.is_accepted

    def _run(self) -> None:
        while not self._is_stopping:
            if not self._is_open:
                self._open()
            elif (task := self._next()) is not None:
                self._do(task)
        self._drain()
        self._close()

    def _open(self) -> None:
        if self._call(self.output.open):
            with self._changed:
                self._is_open = True
                self._must_tell = self._was_open or self._reason is not None
                self._was_open = True
                if self.output.is_control:  # the parts are gone
                    self._drop_all()
        else:
            self._close()
            self._rest()

    def _next(self) -> _Task | None:
        """Wait until there is something to do; ``None`` at the end."""
        check_at = time.monotonic() + _CHECK_EVERY_S
        with self._changed:
            while not self._is_stopping:
                if self._must_tell:
                    self._must_tell = False
                    kind: Literal["fail", "recover"] = "fail" if self._reason else "recover"
                    return _Task(kind, reason=self._reason)
                now = time.monotonic()
                due = check_at
                if self._queue:
                    due = self._queue[0].due
                    if due <= now:
                        return _Task("verdict", waiting=self._queue.popleft())
                if min(due, check_at) <= now:
                    return _Task("check")
                self._changed.wait(min(due, check_at) - now)
        return None

    def _do(self, task: _Task) -> None:
        if task.waiting is not None:
            judged = self._in_time(task.waiting)
            if self._call(lambda: self.output.deliver(judged), task.waiting):
                self._done += 1
                self._pause_s = _FIRST_PAUSE_S
        elif task.reason is not None:
            reason = task.reason
            self._call(lambda: self.output.fail(reason))
        elif task.kind == "recover":
            self._call(self.output.recover)
        else:
            self._check()
        if not self._is_open:
            self._close()
            self._rest()

    def _in_time(self, waiting: _Waiting) -> Judged:
        judged = waiting.judged
        late_s = time.monotonic() - waiting.due
        if late_s <= self.output.latest_s or not judged.verdict.is_accepted:
            return judged
        reason = f"{self.name} was {late_s * 1000:.0f} ms late"
        return replace(judged, verdict=replace(judged.verdict, state="failure", reason=reason))

    def _call(self, action: Callable[[], None], waiting: _Waiting | None = None) -> bool:
        """Call the output. An exception of any kind costs a verdict or a connection at most."""
        self._inside_since = time.monotonic()
        try:
            action()
            self._error = None
        except DisconnectedError as error:
            self._note(error)
            self._is_open = False
            if waiting is not None:
                self._keep(waiting)
            return False
        except OutputError as error:
            self._note(error)
            if waiting is None:
                self._is_open = False
            else:
                self._lost += 1
            return False
        except BaseException as error:  # a part of a stranger may even raise SystemExit
            self._note(error)
            self._is_open = False
            self._lost += waiting is not None
            return False
        finally:
            self._inside_since = None
        return True

    def _check(self) -> None:
        error = self._error
        if self._call(self.output.check):
            self._error = error  # a verdict that was lost is not made good by a peer that is there

    def _keep(self, waiting: _Waiting) -> None:
        with self._changed:
            if self.output.is_control or len(self._queue) >= self.output.queue:
                self._lost += 1
            else:
                self._queue.appendleft(waiting)

    def _note(self, error: BaseException) -> None:
        self._errors += 1
        text = str(error) if isinstance(error, EdgeadError) else f"{type(error).__name__}: {error}"
        self._error = printable(text)[:_MOST_CHARACTERS]

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping, self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _drain(self) -> None:
        while self._queue and self._is_open and not self.output.is_control:
            if time.monotonic() > self._drain_until:
                break
            self._do(_Task("verdict", waiting=self._queue.popleft()))
        with self._changed:
            self._drop_all()

    def _drop_all(self) -> None:
        self._lost += len(self._queue)
        self._queue.clear()

    def _close(self) -> None:
        self._is_open = False
        with contextlib.suppress(BaseException):
            self.output.close()
