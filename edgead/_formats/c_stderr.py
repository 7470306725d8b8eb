"""What decoders written in C print: libjpeg's only report of damage.

libjpeg decodes what is left of a damaged photo and prints a sentence to the C library's ``stderr``;
OpenCV passes on neither. So while a photo is decoded, ``stderr`` is a stream of ours. The file
descriptor 2 is left alone: Python, child processes and crash handlers print as ever. The stream's
function runs in the thread that prints, so sentences find their photo, and those of other threads
go on to descriptor 2.

Only glibc lets a program assign ``stderr``. Elsewhere nothing is collected.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BY_LINE, _BUFFER = 1, 4096  # _IOLBF

_Write = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t
)


class _Functions(ctypes.Structure):
    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


class _Collector:
    def __init__(self) -> None:
        self._lines: dict[int, list[bytes]] = {}  # by thread
        self._write = _Write(self._take)  # must live as long as the stream
        self._variable: Any = None
        self._stream = self._own = None
        self._users = 0
        self._renew_lock()
        os.register_at_fork(after_in_child=self._start_again)
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return
        library.fopencookie.restype = ctypes.c_void_p
        library.fopencookie.argtypes = (ctypes.c_void_p, ctypes.c_char_p, _Functions)
        library.setvbuf.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_size_t,
        )
        self._own = library.fopencookie(None, b"w", _Functions(None, self._write, None, None))
        if self._own:
            library.setvbuf(self._own, None, _BY_LINE, _BUFFER)
            self._variable = ctypes.c_void_p.in_dll(library, "stderr")

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def _start_again(self) -> None:
        """In a forked child only the forking thread lives, and that one was not decoding."""
        self._renew_lock()
        self._lines.clear()
        if self._users:
            self._variable.value = self._stream
        self._users = 0

    def _take(self, _: Any, data: Any, size: int) -> int:
        mine = self._lines.get(threading.get_ident())
        if mine is None:
            os.write(2, data[:size])
        else:
            mine.append(data[:size])
        return size

    @contextmanager
    def __call__(self) -> Iterator[list[bytes]]:
        lines: list[bytes] = []
        if self._variable is None:
            yield lines
            return
        thread = threading.get_ident()
        self._lines[thread] = lines
        with self._lock:
            if self._users == 0:
                self._stream = self._variable.value
                self._variable.value = self._own
            self._users += 1
        try:
            yield lines
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._variable.value = self._stream
            del self._lines[thread]


collected = _Collector()
"""``with collected() as lines:`` gives what C code of this thread printed in the block."""
