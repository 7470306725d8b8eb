"""Processes forked while a runtime is open: refused in the child, which ends all the same.

Each case runs in a process of its own, because a failure is one that hangs.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.usefixtures("all_cores"),
]

RUNTIMES = ["onnxruntime", "openvino"]
_SECONDS = 20

_START = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # threads and forks
import numpy as np
path, runtime, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
frame = np.zeros((50, 60, 3), np.uint8)

def telemetry():
    # A program that imported it itself, with the threads of its telemetry.
    os.environ.pop("ORT_DISABLE_TELEMETRY", None)
    import onnxruntime

def ends(child):
    pid = os.fork()
    if pid == 0:
        child()
        print("child done", flush=True)
        sys.exit(7)
    for _ in range(200):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

def told(call):
    from edgead.errors import EdgeadError
    try:
        call()
    except EdgeadError as error:
        print(error, flush=True)
    else:
        print("nothing was said", flush=True)

def new():
    from edgead import EdgeDetector
    return EdgeDetector(path, runtime, threads=threads)
"""

_INHERITED = """
detect = new()
expected = detect(frame).score
def child():
    told(lambda: detect(frame))
    told(lambda: detect.runtime)
    detect.close()
    told(lambda: detect(frame))
print(ends(child))
print(ends(lambda: None))
assert detect(frame).score == expected
detect.close()
"""

_OWN = """
detect = new()
expected = detect(frame).score
if sys.argv[4] == "closed":
    detect.close()
def child():
    with new() as own:
        assert own(frame).score == expected
print(ends(child))
detect.close()
"""

_POOLS = """
import multiprocessing
detect = new()
def work(index):
    from edgead.errors import EdgeadError
    try:
        return detect(frame).score
    except EdgeadError as error:
        return str(error)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for said in pool.map(work, range(4)):
        print(said)
detect.close()
"""


def run(code: str, *words: object, environment: dict[str, str] | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _START + code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * _SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_told_and_ends(
    runtime: str, threads: int, tiny_artifact: Callable[..., Artifact]
) -> None:
    told = f"the {runtime} runtime was opened before this process was forked"
    lines = run(_INHERITED, tiny_artifact().path, runtime, threads)
    assert [told in line for line in lines] == [True, True, True, False, False, False, False]
    assert "post_fork" in lines[0]
    assert lines[3:] == ["child done", "7", "child done", "7"]


@pytest.mark.parametrize("before", ["open", "closed"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_may_open_its_own(
    runtime: str, threads: int, before: str, tiny_artifact: Callable[..., Artifact]
) -> None:
    lines = run(_OWN, tiny_artifact().path, runtime, threads, before)
    assert lines == ["child done", "7"]


@pytest.mark.parametrize("code", [_INHERITED, _OWN])
def test_the_child_ends_with_telemetry_that_the_program_left_on(
    code: str, tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    quiet = ("CI", "TF_BUILD", "ORT_DISABLE_TELEMETRY")
    environment = {key: value for key, value in os.environ.items() if key not in quiet}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    words = (tiny_artifact().path, "onnxruntime", 1, "closed")
    lines = run("telemetry()\n" + code, *words, environment=environment)
    assert lines[-2:] == ["child done", "7"]


def test_workers_of_a_pool_are_told(
    runtime: str, tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    lines = run(_POOLS, tiny_artifact().path, runtime, 2)
    assert len(lines) == 4
    assert all("open the detector after the fork" in line for line in lines)
