"""The thread that reads a source, opens it again when it is lost, and watches what it gives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from edgead import notices
from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.line.errors import SourceError
from edgead.line.mailbox import Mailbox
from edgead.line.sources.base import EndOfFrames, Source
from edgead.line.status import PartStatus

_FIRST_WAIT_S, _MOST_WAIT_S = 0.1, 1.0
_POLL_S = 0.25
_COARSE = 16  # every so many rows and columns are compared first


class Reader:
    """Fills a mailbox with the frames of a source, from a thread of its own.

    Args:
        source: The source; used by this thread alone.
        station: Name of the station, for reports.
        kind: Of the source.
        mailbox: Where frames go.
        stale_s: A live source that gives no frame for so long is lost.
        frozen_frames: So many equal frames of a live source are a frozen picture; 0 for no check.
        check: Called with the source's settings each time it was opened; returns what is wrong
            with them, a sentence, or ``None``.

    Attributes:
        fault: Why its frames cannot be trusted, or why there are none; a sentence.
        tried: Set once the source was opened for the first time, or could not be.
        first_error: Why it could not, that time.
        heard: ``time.monotonic()`` of the last frame; ``None`` before the first.
    """

    def __init__(
        self,
        source: Source,
        station: str,
        kind: str,
        mailbox: Mailbox,
        *,
        stale_s: float,
        frozen_frames: int,
        check: Callable[[Mapping[str, float | str]], str | None] = lambda _: None,
    ) -> None:
        self._source = source
        self._station = station
        self._kind = kind
        self._mailbox = mailbox
        self._stale_s = stale_s
        self._frozen_frames = frozen_frames if source.is_live else 0
        self._check = check
        self._thread = threading.Thread(
            target=self._run, name=f"edgead-{station}-reader", daemon=True
        )
        self._stop = threading.Event()
        self._settings: Mapping[str, float | str] = {}
        self._changed_settings: str | None = None
        self._last: Image | None = None
        self._equal = 1
        self._lost_since: float | None = None
        self._wait_s = _FIRST_WAIT_S
        self._errors = 0
        self.fault: str | None = None
        self.tried = threading.Event()
        self.first_error: EdgeadError | None = None
        self.heard: float | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread, which closes the source; one that hangs ends with the process."""
        self._stop.set()
        self._mailbox.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def status(self) -> PartStatus:
        """Return what was read and what is wrong."""
        return PartStatus(
            name="source",
            kind=self._kind,
            fault=self.fault,
            done=self._mailbox.frames,
            lost=self._mailbox.lost,
            errors=self._errors,
            settings=dict(self._settings),
        )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._open()
                    self._read_on()
                except EndOfFrames:
                    return
                except Exception as error:
                    self._lose(error)
                self._close()
                self._stop.wait(self._wait_s)
                self._wait_s = min(2 * self._wait_s, _MOST_WAIT_S)
        finally:
            self._close()
            self.tried.set()
            self._mailbox.end()

    def _close(self) -> None:
        with contextlib.suppress(Exception):  # a stranger's may raise all the same
            self._source.close()

    def _open(self) -> None:
        try:
            self._source.open()
            self._settings = dict(self._source.settings())
            self._changed_settings = self._check(self._settings)
        except Exception as error:
            if not self.tried.is_set():
                self.first_error = _known(error)
            raise
        finally:
            self.tried.set()

    def _read_on(self) -> None:
        """Read until the source is lost or has ended, which is an exception."""
        heard = time.monotonic()
        while not self._stop.is_set():
            frame = self._source.read(min(_POLL_S, self._stale_s))
            if frame is None:
                silent = time.monotonic() - heard
                if self._source.is_live and silent > self._stale_s:
                    raise SourceError(f"no frame came for {silent:.1f} s")
                continue
            heard = self.heard = frame.at
            if frame.picture is not None and self._frozen_frames:
                self._watch(frame.picture)
            self._found()
            if self._mailbox.put(frame):
                self._source.judged(frame)

    def _watch(self, picture: Image) -> None:
        """Count frames that are equal in every byte, also over a new start of the camera.

        Sensors have noise, so that such frames are one that is repeated.
        """
        last, self._last = self._last, picture
        self._equal = self._equal + 1 if last is not None and _is_equal(last, picture) else 1
        if self._equal >= self._frozen_frames:
            raise SourceError(f"the picture is frozen: {self._equal} frames in a row are equal")

    def _found(self) -> None:
        """Note that a frame came."""
        self._wait_s = _FIRST_WAIT_S
        self.fault = self._changed_settings
        if self._lost_since is not None:
            gone = time.monotonic() - self._lost_since
            self._lost_since = None
            notices.say(f"{self._station}: the source gives frames again, after {gone:.1f} s")

    def _lose(self, error: Exception) -> None:
        self._errors += 1
        if self._lost_since is None:
            self._lost_since = time.monotonic()
        self.fault = str(_known(error))


def _is_equal(first: Image, second: Image) -> bool:
    """Compare a few pixels and then, if those are equal, all of them."""
    if first.shape != second.shape:
        return False
    few = slice(None, None, _COARSE)
    if (first[few, few] != second[few, few]).any():
        return False
    return bool((first == second).all())


def _known(error: Exception) -> EdgeadError:
    if isinstance(error, EdgeadError):
        return error
    return SourceError(f"the source failed: {type(error).__name__}: {error}")
