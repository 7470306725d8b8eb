"""Standard output whose reader may go away, such as ``head``."""

from __future__ import annotations

import os
from typing import Any, TextIO


class PatientOutput:
    """Prints into a stream; when nobody reads it any more, the work goes on without a word.

    What a command writes into files and its exit code are wanted all the same.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or let what is printed from here on go nowhere."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Hand over what was written so far."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let what waits in the stream's buffer go nowhere; only a lost reader is no error."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
