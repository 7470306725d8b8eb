"""CUDA's driver through ctypes: nothing to install, nothing to compile."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead.runtimes.tensorrt.device import (
    CudaError,
    Device,
    DeviceBuffer,
    Event,
    OutOfDeviceMemory,
    PinnedBuffer,
    Stream,
)

LIBRARY = "libcuda.so.1"

_OUT_OF_MEMORY = 2
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76  # CUdevice_attribute
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class Driver:
    """The driver's functions; each call that fails raises."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaError(f"there is no NVIDIA driver ({error})") from error

    def __call__(self, function: str, *arguments: Any) -> None:
        """Call a function that returns a ``CUresult``."""
        code = getattr(self._library, function)(*arguments)
        if code:
            name = c_char_p()
            self._library.cuGetErrorName(code, byref(name))
            said = (name.value or b"an unknown error").decode()
            kind = OutOfDeviceMemory if code == _OUT_OF_MEMORY else CudaError
            raise kind(f"the NVIDIA driver's {function} failed with {said} ({code})")

    def version(self) -> str:
        """Return the newest CUDA that the driver knows, as ``major.minor``."""
        number = c_int()
        self("cuDriverGetVersion", byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"


def problem() -> str | None:
    """Say why no GPU can be used here; ``None`` where one can.

    Asked before tensorrt is touched: some of its versions end the process where there is no driver.
    """
    try:
        driver = Driver()
        driver("cuInit", 0)
        count = c_int()
        driver("cuDeviceGetCount", byref(count))
    except CudaError as error:
        return str(error)
    return None if count.value else "the NVIDIA driver finds no GPU"


class LibCuda(Device):
    """The first GPU, through ctypes."""

    backend: ClassVar[str] = "libcuda"

    def __init__(self) -> None:
        self.call = call = Driver()
        call("cuInit", 0)
        self._device = c_int()
        call("cuDeviceGet", byref(self._device), 0)
        text = ctypes.create_string_buffer(256)
        call("cuDeviceGetName", text, 256, self._device)
        self.name = text.value.decode()
        self.compute_capability = self._attribute(_MAJOR), self._attribute(_MINOR)
        self.multiprocessors = self._attribute(_MULTIPROCESSORS)
        self.driver = call.version()
        self._context = c_void_p()
        call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)

    def _attribute(self, number: int) -> int:
        value = c_int()
        self.call("cuDeviceGetAttribute", byref(value), number, self._device)
        return value.value

    def push(self) -> None:
        """Make the context current in this thread."""
        self.call("cuCtxPushCurrent_v2", self._context)

    def pop(self) -> None:
        """Make current what was current before."""
        self.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def memory(self) -> tuple[int, int]:
        """Return free and total bytes."""
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> DeviceBuffer:
        """Take memory of the GPU."""
        return _DeviceBuffer(self.call, size)

    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """Take page-locked memory of the host."""
        return _PinnedBuffer(self.call, size)

    def create_stream(self) -> Stream:
        """Make a stream that does not wait for others."""
        return _Stream(self.call)

    def create_event(self) -> Event:
        """Make an event."""
        return _Event(self.call)

    def upload(
        self, target: DeviceBuffer, source: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> None:
        """Copy to the GPU."""
        where, what = c_uint64(target.address), c_void_p(source.ctypes.data)
        size = c_size_t(source.nbytes)
        if stream is None:
            self.call("cuMemcpyHtoD_v2", where, what, size)
        else:
            self.call("cuMemcpyHtoDAsync_v2", where, what, size, c_void_p(stream.handle))

    def download(self, target: npt.NDArray[np.uint8], source: DeviceBuffer, stream: Stream) -> None:
        """Queue a copy from the GPU."""
        self.call(
            "cuMemcpyDtoHAsync_v2",
            c_void_p(target.ctypes.data),
            c_uint64(source.address),
            c_size_t(target.nbytes),
            c_void_p(stream.handle),
        )

    def close(self) -> None:
        """Release the context."""
        self.call("cuDevicePrimaryCtxRelease_v2", self._device)


class _DeviceBuffer(DeviceBuffer):
    def __init__(self, call: Driver, size: int) -> None:
        self._call = call
        address = c_uint64()
        call("cuMemAlloc_v2", byref(address), c_size_t(size))
        self.address = address.value

    def free(self) -> None:
        self._call("cuMemFree_v2", c_uint64(self.address))


class _PinnedBuffer(PinnedBuffer):
    def __init__(self, call: Driver, size: int) -> None:
        self._call = call
        self._address = c_void_p()
        call("cuMemHostAlloc", byref(self._address), c_size_t(size), c_uint(0))
        assert self._address.value is not None
        self.array = np.ctypeslib.as_array(
            (ctypes.c_uint8 * size).from_address(self._address.value)
        )

    def free(self) -> None:
        del self.array
        self._call("cuMemFreeHost", self._address)


class _Stream(Stream):
    def __init__(self, call: Driver) -> None:
        self._call = call
        stream = c_void_p()
        call("cuStreamCreate", byref(stream), c_uint(_NON_BLOCKING))
        assert stream.value is not None
        self.handle = stream.value

    def synchronize(self) -> None:
        self._call("cuStreamSynchronize", c_void_p(self.handle))

    def destroy(self) -> None:
        self._call("cuStreamDestroy_v2", c_void_p(self.handle))


class _Event(Event):
    def __init__(self, call: Driver) -> None:
        self._call = call
        self._event = c_void_p()
        call("cuEventCreate", byref(self._event), c_uint(0))

    def record(self, stream: Stream) -> None:
        self._call("cuEventRecord", self._event, c_void_p(stream.handle))

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        milliseconds = c_float()
        self._call("cuEventElapsedTime", byref(milliseconds), earlier._event, self._event)
        return milliseconds.value

    def destroy(self) -> None:
        self._call("cuEventDestroy_v2", self._event)
