"""The streams of a command: closed, full or without a reader, and safe for a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast

from edgead.printable import printable_lines


@contextlib.contextmanager
def patient_streams() -> Iterator[PatientOutput]:
    """Let standard output and error be patient in this block, and give standard output.

    A command that is called by another shares the streams of that one.
    """
    _fill_closed_descriptors()
    if isinstance(sys.stdout, PatientOutput):
        yield PatientOutput(None)
        return
    output, error = PatientOutput(sys.stdout), PatientOutput(sys.stderr)
    with (
        contextlib.redirect_stdout(cast(TextIO, output)),
        contextlib.redirect_stderr(cast(TextIO, error)),
    ):
        yield output
        error.flush()


def _fill_closed_descriptors() -> None:
    """Open the null device where standard input, output or error is closed.

    The next file to be opened would take its place, and be given what is printed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere == descriptor:
                os.set_inheritable(descriptor, True)
            else:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


class PatientOutput(io.TextIOBase):
    """Prints into a stream that may fail; the work goes on when it does.

    What a command writes into files and its exit code are wanted all the same. Control characters
    are written as escapes: each line that has foreign text in it should have been made safe where
    it was made, and this is for the one that was forgotten.

    Attributes:
        failure: Why what was printed is not there; ``None`` while all is well. A reader that went
            away (``head``) is no failure.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Print into ``stream``; ``None``, as Python has it for a closed one, is no place."""
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or let what is printed from here on go nowhere."""
        self.control(printable_lines(text))
        return len(text)

    def control(self, text: str) -> None:
        """Write text as it is, codes for the terminal included."""
        if self._stream is None:
            return
        try:
            encoding = self.encoding  # what it lacks is written as escapes
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self._give_up(error)

    def flush(self) -> None:
        """Hand over what was written so far."""
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def isatty(self) -> bool:
        """Whether a person reads this."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _give_up(self, error: OSError | ValueError) -> None:
        """Let what waits in the stream's buffer go nowhere."""
        if isinstance(error, OSError):
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            with contextlib.suppress(OSError, ValueError):  # no file, as of a program's own stream
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
        self._stream = None
