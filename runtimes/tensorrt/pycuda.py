"""CUDA's driver through pycuda."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from ctypes import c_int
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pycuda.driver as cuda

from edgead.runtimes.tensorrt.device import (
    CudaError,
    Device,
    DeviceBuffer,
    Event,
    OutOfDeviceMemory,
    PinnedBuffer,
    Stream,
)
from edgead.runtimes.tensorrt.libcuda import Driver

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


@contextlib.contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except cuda.MemoryError as error:
        raise OutOfDeviceMemory(f"pycuda: {error}") from error
    except cuda.Error as error:
        raise CudaError(f"pycuda: {error}") from error


class PyCuda(Device):
    """The first GPU, through pycuda: never its ``autoinit``, which makes a context of its own."""

    backend: ClassVar[str] = "pycuda"

    def __init__(self) -> None:
        with _our_errors():
            cuda.init()
            device = cuda.Device(0)
            self.name = str(device.name())
            self.compute_capability = device.compute_capability()
            self.multiprocessors = int(
                device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT)
            )
            version = int(cuda.get_driver_version())
            self.driver = f"{version // 1000}.{version % 1000 // 10}"
            self._context: Any = device.retain_primary_context()

    def push(self) -> None:
        """Make the context current in this thread."""
        with _our_errors():
            self._context.push()

    def pop(self) -> None:
        """Make current what was current before."""
        with _our_errors():
            cuda.Context.pop()

    def memory(self) -> tuple[int, int]:
        """Return free and total bytes."""
        with _our_errors():
            free, total = cuda.mem_get_info()
        return int(free), int(total)

    def allocate(self, size: int) -> DeviceBuffer:
        """Take memory of the GPU."""
        with _our_errors():
            return _DeviceBuffer(size)

    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """Take page-locked memory of the host."""
        with _our_errors():
            return _PinnedBuffer(size)

    def create_stream(self) -> Stream:
        """Make a stream that does not wait for others."""
        with _our_errors():
            return _Stream()

    def create_event(self) -> Event:
        """Make an event."""
        with _our_errors():
            return _Event()

    def upload(
        self, target: DeviceBuffer, source: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> None:
        """Copy to the GPU."""
        with _our_errors():
            if stream is None:
                cuda.memcpy_htod(target.address, source)
            else:
                assert isinstance(stream, _Stream)
                cuda.memcpy_htod_async(target.address, source, stream.stream)

    def download(self, target: npt.NDArray[np.uint8], source: DeviceBuffer, stream: Stream) -> None:
        """Queue a copy from the GPU."""
        assert isinstance(stream, _Stream)
        with _our_errors():
            cuda.memcpy_dtoh_async(target, source.address, stream.stream)

    def close(self) -> None:
        """Release the context."""
        # Where a context is current, or in the thread that retained it, pycuda's detach leaves it
        # current (right for contexts of its own, whose end pops them, wrong for the primary one).
        # In a thread that has nothing to do with it, detach only forgets it.
        forgetting = threading.Thread(target=self._context.detach)
        forgetting.start()
        forgetting.join()
        Driver()("cuDevicePrimaryCtxRelease_v2", c_int(0))


class _DeviceBuffer(DeviceBuffer):
    def __init__(self, size: int) -> None:
        self._allocation = cuda.mem_alloc(size)
        self.address = int(self._allocation)

    def free(self) -> None:
        with _our_errors():
            self._allocation.free()


class _PinnedBuffer(PinnedBuffer):
    def __init__(self, size: int) -> None:
        self.array = cuda.pagelocked_empty(size, np.uint8)

    def free(self) -> None:
        allocation: Any = self.array.base
        del self.array
        with _our_errors():
            allocation.free()


class _Stream(Stream):
    def __init__(self) -> None:
        self.stream: Any = cuda.Stream(_NON_BLOCKING)
        self.handle = int(self.stream.handle)

    def synchronize(self) -> None:
        with _our_errors():
            self.stream.synchronize()

    def destroy(self) -> None:
        del self.stream  # pycuda destroys it with its last reference


class _Event(Event):
    def __init__(self) -> None:
        self._event: Any = cuda.Event()

    def record(self, stream: Stream) -> None:
        assert isinstance(stream, _Stream)
        with _our_errors():
            self._event.record(stream.stream)

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        with _our_errors():
            return float(self._event.time_since(earlier._event))

    def destroy(self) -> None:
        del self._event
