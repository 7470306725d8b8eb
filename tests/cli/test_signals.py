"""Signals end a command as Ctrl-C does; a program that calls one keeps its own handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgead.cli import main

_WORKING = """
import subprocess, sys, time
from edgead import files
from edgead.cli import main, models
def run(args):
    try:
        with files.scratch_folder("."):
            helper = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
            print("working", flush=True)
            subprocess.run(helper)
    finally:
        print("put in order", flush=True)
models.run = run
sys.argv[1:] = ["models"]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_in_order(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _WORKING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["working\n", "1\n"]
        process.send_signal(number)
        output, errors = process.communicate()  # the helper holds the pipe: it has ended too
    assert (process.returncode, output, errors) == (code, "put in order\n", "edgead: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from edgead.cli import main, models\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does\n"
        "def run(args):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return 0\n"
        "models.run = run\n"
        "sys.argv[1:] = ['models']\n"
        "sys.exit(main())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_program_that_calls_a_command_keeps_its_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgead.cli import models

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    inside = []
    monkeypatch.setattr(models, "run", lambda _: inside.extend(map(signal.getsignal, numbers)) or 0)
    assert main(["models"]) == 0
    assert inside == before == [signal.getsignal(number) for number in numbers]


def test_a_command_may_run_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgead", "--version"])
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main()))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize("module", ["edgead.cli._commands", "numpy", "cv2"])
def test_ctrl_c_while_modules_are_loaded_is_no_traceback(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from edgead.cli import main\n"
        "sys.argv[1:] = ['info', 'x.onnx']\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, done.stderr) == (130, "edgead: stopped\n")
