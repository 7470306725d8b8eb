"""Fails a test that leaves a thread, an open file, a socket or a process behind."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_OPEN_FILES = Path("/proc/self/fd")

# Files that a library opens once and keeps.
_KEPT = ("/dev/urandom", "/dev/random", "/dev/null", "/dev/nvidia", "/dev/pts/", "/dev/tty")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Compare what is open before and after a test; the fixtures of a test end before this."""
    before = _open_things()
    yield
    if not (_open_things() - before):
        return
    gc.collect()  # a file that goes with its last reference warns for itself
    left = _open_things() - before
    if left:
        pytest.fail(f"left behind: {', '.join(sorted(left.elements()))}")


def _open_things() -> Counter[str]:
    return Counter([*_threads(), *_files(), *_children()])


def _threads() -> list[str]:
    """Name Python's threads; the pools of native libraries are none."""
    return [f"thread {thread.name}" for thread in threading.enumerate() if thread.is_alive()]


def _files() -> list[str]:
    if not _OPEN_FILES.is_dir():
        return []
    found = []
    for entry in os.listdir(_OPEN_FILES):  # noqa: PTH208  # Path.iterdir would hold it open
        try:
            target = str((_OPEN_FILES / entry).readlink())
        except OSError:  # the descriptor of this very listing
            continue
        if not target.startswith((*_KEPT, "/proc/")):
            found.append(f"open {target}")
    return found


def _children() -> list[str]:
    own = str(os.getpid())
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = status.read_text().rpartition(")")  # a name may have spaces
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # it has ended
            continue
        if rest.split()[1] == own:
            found.append(f"process {status.parent.name} {command.decode(errors='replace')}")
    return found
