"""Verdicts as JSON lines in a file that is rotated by size.

Each line is one call of the system and is cut off again when it could not be written whole. What a
killed process or a full disk left of a line is removed when the file is opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files
from edgead.line.errors import OutputError
from edgead.line.outputs.base import Output
from edgead.line.outputs.states import state_json
from edgead.line.verdict import Judged

_BLOCK = 1 << 16
_LARGEST_LINE = 16 << 20


@dataclass(frozen=True)
class JsonLinesOptions:
    """File and rotation.

    Attributes:
        path: The newest file. Older ones have ``.1``, ``.2`` and so on behind the name.
        max_bytes: A file that would be larger is rotated.
        files: How many files there are at most; the oldest is removed.
    """

    path: Path
    max_bytes: int = 10_000_000
    files: int = 5

    def __post_init__(self) -> None:
        if self.max_bytes < 4096:
            raise ValueError("max_bytes must be at least 4096")
        if not 1 <= self.files <= 1000:
            raise ValueError("files must be from 1 to 1000")


class JsonLines(Output):
    """Appends one line for each verdict, and when the station begins or ends to fail."""

    Options = JsonLinesOptions

    def __init__(self, options: JsonLinesOptions, station: str) -> None:
        super().__init__(options, station)
        self._path = Path(options.path)
        self._handle: int | None = None
        self._size = 0

    def open(self) -> None:
        """Open the file for appending, and remove what was left of a line."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            self.close()
            raise OutputError(files.described(error, str(self._path))) from error
        except OutputError:
            self.close()
            raise

    def deliver(self, judged: Judged) -> None:
        """Append a verdict."""
        self._append(judged.verdict.to_json())

    def fail(self, reason: str) -> None:
        """Append that nothing is judged."""
        self._append(state_json(self.station, "failing", reason))

    def recover(self) -> None:
        """Append that the station judges again."""
        self._append(state_json(self.station, "judging"))

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        self._handle = handle = os.open(self._path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OutputError(f"{self._path} is not a file: choose another path")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{self._path} is in use by another output or process: choose another path"
            ) from error
        except OSError:  # file systems without locks (some network drives): as if there were none
            pass
        self._size = os.fstat(handle).st_size
        self._repair()

    def _repair(self) -> None:
        assert self._handle is not None
        if self._size and os.pread(self._handle, 1, 0) != b"{":
            raise OutputError(f"{self._path} has no JSON lines: choose another path")
        end = self._size
        while end > 0:
            begin = max(0, end - _BLOCK)
            found = os.pread(self._handle, end - begin, begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
            if self._size - end > _LARGEST_LINE:
                raise OutputError(f"{self._path} has no JSON lines: choose another path")
        if end < self._size:
            os.ftruncate(self._handle, end)
            self._size = end

    def _append(self, values: dict[str, Any]) -> None:
        line = json.dumps(values).encode() + b"\n"
        try:
            if self._size and self._size + len(line) > self.options.max_bytes:
                self._rotate()
            self._write(line)
        except OSError as error:
            raise OutputError(files.described(error, str(self._path))) from error

    def _write(self, line: bytes) -> None:
        if self._handle is None:
            self._open()
        assert self._handle is not None
        written = 0
        try:
            while written < len(line):  # a full disk takes a part, and refuses at the next call
                written += os.write(self._handle, line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        self.close()
        for number in range(self.options.files - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self.options.files == 1:
            self._path.unlink(missing_ok=True)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
