"""The real pycuda over the fake GPU, where pycuda is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tensorrt.conftest import NEEDS_COMPILER

ROOT = Path(__file__).parents[2]
_PYCUDA = importlib.util.find_spec("pycuda")

pytestmark = [
    NEEDS_COMPILER,
    pytest.mark.skipif(_PYCUDA is None, reason="pycuda is not installed: pip install pycuda"),
]

_CODE = """
import threading
import numpy as np
from edgead.runtimes.tensorrt.device import OutOfDeviceMemory, open_device
from edgead.runtimes.tensorrt.graph import Graph
device = open_device()
assert device.backend == "pycuda", device.backend
assert (device.name, device.compute_capability, device.multiprocessors) == ("Orin", (8, 7), 16)

def round_trip():
    with device.current():
        host, back = device.allocate_pinned(64), device.allocate_pinned(64)
        memory, stream = device.allocate(64), device.create_stream()
        begin, end = device.create_event(), device.create_event()
        host.array[:] = np.arange(64)
        back.array[:] = 0
        begin.record(stream)
        device.upload(memory, host.array, stream)
        device.download(back.array, memory, stream)
        end.record(stream)
        stream.synchronize()
        assert (back.array == np.arange(64)).all()
        assert end.milliseconds_since(begin) >= 0
        graph = Graph(stream, lambda: device.download(back.array, memory, stream))
        device.upload(memory, np.full(64, 7, np.uint8))
        graph.launch(stream)
        stream.synchronize()
        assert (back.array == 7).all()
        graph.destroy()
        for event in (begin, end):
            event.destroy()
        stream.destroy()
        for buffer in (host, back, memory):
            buffer.free()

workers = [threading.Thread(target=round_trip) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
round_trip()
with device.current():
    free, total = device.memory()
    assert free == total == 4 << 30
    try:
        device.allocate(8 << 30)
    except OutOfDeviceMemory:
        pass
    else:
        raise AssertionError("memory that is not there was given")
device.close()
other = open_device()  # closed where it was not opened
closing = threading.Thread(target=other.close)
closing.start()
closing.join()
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
kinds = (b"contexts", b"streams", b"events", b"graphs", b"memory", b"pinned", b"pushed")
print([driver.fake_alive(kind) for kind in kinds])
"""


def test_pycuda_keeps_the_contract_and_leaks_nothing(driver_library: Path, tmp_path: Path) -> None:
    # pycuda needs every function of the driver to be there when it is loaded.
    assert _PYCUDA is not None
    (glue,) = Path(str(_PYCUDA.origin)).parent.glob("_driver*.so")
    listed = ["nm", "-D", "--undefined-only", glue]
    wanted = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    source = Path(__file__).with_name("fake_driver.c")
    ours = source.read_text()
    names = {line.split()[-1].partition("@")[0] for line in wanted.splitlines()}
    missing = [n for n in sorted(names) if n.startswith("cu") and f" {n}(" not in ours]
    rest = tmp_path / "rest.c"
    rest.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in missing))
    library = tmp_path / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1", "-o", library]
    subprocess.run([*command, source, rest], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "EDGEAD_CUDA": "pycuda"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[0, 0, 0, 0, 0, 0, 0]"
    assert "clean-up operation failed" not in done.stderr
