"""Nobody is told what runs here: no file, no socket, no look-up, no process, in any runtime.

Sockets of C++ are seen by strace where it is installed and allowed, else by what is open at the
end. ONNX Runtime (1.29 and later) writes its files at once, makes a socket a little later, and
looks up its collector after 15 s.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact

ROOT = Path(__file__).parents[2]
ROOMS = ("edgead", "runtimes", "export", "calibration", "benchmarks", "studies")

_WATCHED = """
import json, os, sys, time
from pathlib import Path
import numpy as np
seen = []
REPORTS = ("socket.", "os.fork", "os.posix_spawn", "os.system", "subprocess.", "urllib.")
def watch(event, details):
    if event.startswith(REPORTS):
        seen.append(f"{event} {details}")
sys.addaudithook(watch)
from edgead import EdgeDetector
with EdgeDetector(sys.argv[1], sys.argv[2]) as detect:
    detect(np.zeros((50, 60, 3), np.uint8))
    time.sleep(float(sys.argv[3]))  # reports are sent from threads
    detect(np.zeros((50, 60, 3), np.uint8))
    folder = Path("/proc/self/fd")
    opened = [os.readlink(fd) for fd in folder.iterdir() if fd.exists()] if folder.is_dir() else []
print(json.dumps({
    "seen": seen,
    "sockets": [name for name in opened if name.startswith("socket:")],
    "modules": sorted({"onnxruntime", "openvino", "openvino_telemetry"} & set(sys.modules)),
    "told": os.environ.get("ORT_DISABLE_TELEMETRY"),
}))
"""


@functools.cache
def strace() -> tuple[str, ...]:
    """The words that show each call of the network, or none where that cannot be seen."""
    words = ("strace", "-f", "-qq", "-e", "trace=network", "-o")
    if shutil.which("strace") is None:
        return ()
    tried = subprocess.run([*words, os.devnull, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else ()


@pytest.mark.parametrize(
    "seconds", [0.2, pytest.param(18, marks=pytest.mark.slow)], ids=["at once", "later"]
)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_nothing_is_reported_to_anybody(
    runtime: str, seconds: float, tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    if importlib.util.find_spec(runtime) is None:  # importing it would send telemetry
        pytest.skip(f"{runtime} is not installed")
    home = tmp_path / "home"
    home.mkdir()
    # Telemetry is silent in CI jobs and where it was declined: here is neither.
    declined = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY")
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in declined and not key.startswith("XDG_")
    }
    environment |= {"HOME": str(home), "TMPDIR": str(home)}
    calls = tmp_path / "calls.txt"
    watcher = [*strace(), str(calls)] if strace() else []
    done = subprocess.run(
        [*watcher, sys.executable, "-c", _WATCHED, tiny_artifact().path, runtime, str(seconds)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seen"] == []
    assert found["sockets"] == []
    assert found["modules"] == [runtime]
    if runtime == "onnxruntime":  # for the processes that this one starts
        assert found["told"] == "1"
    assert list(home.rglob("*")) == []
    if watcher:
        assert calls.read_text() == ""


@pytest.mark.parametrize(
    ("package", "home"),
    [("onnxruntime", "onnxruntime/library.py"), ("openvino", "openvino/library.py")],
)
def test_one_place_imports_a_runtime(package: str, home: str) -> None:
    """Another one could do so first, with telemetry."""
    imports = [f"import {package}", f"from {package}", f'import_module("{package}']
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if any(
            line.strip().startswith(tuple(imports[:2])) or imports[2] in line
            for line in path.read_text().splitlines()
        )
    ]
    assert found == [f"runtimes/{home}"]
