"""Commands started from a process that has imported everything, so that a start costs little.

The child runs ``edgead.cli.main`` as the console script does. The process that forks has one thread
and has computed nothing, so that the child finds no lock held and no library half started.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LONGEST = 180.0


def import_everything() -> None:
    """Import what the commands import; not ONNX Runtime, which starts threads."""
    import lightning_fabric  # noqa: F401
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401

    import edgead.cli
    import edgead.export
    import edgead.training.trainer  # noqa: F401

    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"{threads} threads: a forked child could wait for one that it lacks")


class Command:
    """A running command.

    Args:
        words: Of the command line, without the program.
        log: Gets what it prints.
        checkpoint_seconds: Replaces the training's minute between checkpoints; ``None`` keeps it.
        cold: Start a new interpreter, as a user does, in place of a fork.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        checkpoint_seconds: float | None = None,
        cold: bool = False,
    ) -> None:
        self._log = log
        if cold:
            with log.open("wb") as stream:
                self._popen: subprocess.Popen[bytes] | None = subprocess.Popen(
                    [sys.executable, "-m", "edgead", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
            self.pid = self._popen.pid
            return
        self._popen = None
        self.pid = os.fork()
        if self.pid == 0:
            _run(words, log, checkpoint_seconds)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, most_seconds: float = LONGEST) -> int | None:
        """Return the exit code, negative for a signal; ``None`` while it still runs."""
        end = time.monotonic() + most_seconds
        while True:
            if self._popen is not None:
                code = self._popen.poll()
                if code is not None:
                    return code
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= end:
                return None
            time.sleep(0.002)


def _run(words: Sequence[str], log: Path, checkpoint_seconds: float | None) -> None:
    """Be the child: run the command and end without going back, whatever happens."""
    code = 70
    try:
        code = _main(words, log, checkpoint_seconds)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _main(words: Sequence[str], log: Path, checkpoint_seconds: float | None) -> int:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    from edgead.cli import main
    from edgead.training import steps

    if checkpoint_seconds is not None:
        steps.CHECKPOINT_SECONDS = checkpoint_seconds
    sys.argv = ["edgead", *words]
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a child, so that this process stays fit to fork; an error raises here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer: tuple[bool, Any] = (True, function(*arguments))
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as stream:
            stream.write(pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(pid, 0)
    if not data:
        raise RuntimeError(f"{function.__name__} ended its process")
    done, value = pickle.loads(data)
    if not done:
        raise AssertionError(value)
    return value
