"""The narrow piece of CUDA that an engine needs, whoever provides it."""

from __future__ import annotations

import abc
import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError, UsageError

BACKENDS = {
    "pycuda": "edgead.runtimes.tensorrt.pycuda:PyCuda",
    "libcuda": "edgead.runtimes.tensorrt.libcuda:LibCuda",
}
"""In the order of preference. The second needs no package: it calls the driver itself."""

CHOICE = "EDGEAD_CUDA"
"""Environment variable that names the backend to use, instead of the first that works."""


class CudaError(EdgeadError):
    """The driver refused a call; the message has its name for the error."""


class OutOfDeviceMemory(CudaError):
    """The GPU has not as much free memory as was asked for."""


class DeviceBuffer(abc.ABC):
    """Memory of the GPU."""

    address: int

    @abc.abstractmethod
    def free(self) -> None:
        """Give it back."""


class PinnedBuffer(abc.ABC):
    """Page-locked memory of the host, which the GPU can copy from and to by itself."""

    array: npt.NDArray[np.uint8]

    @abc.abstractmethod
    def free(self) -> None:
        """Give it back; :attr:`array` is gone afterwards."""


class Stream(abc.ABC):
    """A queue of work for the GPU."""

    handle: int

    @abc.abstractmethod
    def synchronize(self) -> None:
        """Wait until everything queued is done."""

    @abc.abstractmethod
    def destroy(self) -> None:
        """Free it."""


class Event(abc.ABC):
    """A point in a stream, with the time when the GPU reached it."""

    @abc.abstractmethod
    def record(self, stream: Stream) -> None:
        """Put it into a stream."""

    @abc.abstractmethod
    def milliseconds_since(self, earlier: Event) -> float:
        """Return the time between two events that the GPU has reached."""

    @abc.abstractmethod
    def destroy(self) -> None:
        """Free it."""


class Device(abc.ABC):
    """The first GPU, through its primary context, which other libraries of the process share.

    Every call but :meth:`close` and the properties happens inside ``with device.current():``, in
    the thread that makes the call.
    """

    backend: ClassVar[str]
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    driver: str

    @abc.abstractmethod
    def push(self) -> None:
        """Make the context current in this thread."""

    @abc.abstractmethod
    def pop(self) -> None:
        """Make current what was current before."""

    @abc.abstractmethod
    def memory(self) -> tuple[int, int]:
        """Return free and total bytes."""

    @abc.abstractmethod
    def allocate(self, size: int) -> DeviceBuffer:
        """Take memory of the GPU.

        Raises:
            OutOfDeviceMemory: There is not so much.
        """

    @abc.abstractmethod
    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """Take page-locked memory of the host."""

    @abc.abstractmethod
    def create_stream(self) -> Stream:
        """Make a stream that does not wait for others."""

    @abc.abstractmethod
    def create_event(self) -> Event:
        """Make an event."""

    @abc.abstractmethod
    def upload(
        self, target: DeviceBuffer, source: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> None:
        """Copy to the GPU: queued in a stream, or at once without one."""

    @abc.abstractmethod
    def download(self, target: npt.NDArray[np.uint8], source: DeviceBuffer, stream: Stream) -> None:
        """Queue a copy from the GPU."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the context."""

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread for a block."""
        self.push()
        try:
            yield
        finally:
            self.pop()


def open_device() -> Device:
    """Retain the first GPU's primary context, with pycuda where it works, else without.

    Raises:
        CudaError: There is no usable driver or GPU.
        UsageError: ``$EDGEAD_CUDA`` names no backend, or one that does not work here.
    """
    choice = os.environ.get(CHOICE)
    if choice:
        if choice not in BACKENDS:
            raise UsageError(f"${CHOICE} is '{choice}'; choose one of: {', '.join(BACKENDS)}")
        try:
            return _backend(choice)
        except ImportError as error:
            raise UsageError(f"${CHOICE} is {choice}, which does not work here: {error}") from error
    try:
        return _backend("pycuda")
    except ImportError:
        return _backend("libcuda")


def why_not_pycuda() -> str | None:
    """Say why pycuda is not used; ``None`` where it is."""
    try:
        importlib.import_module("pycuda.driver")
    except ImportError as error:
        return str(error)
    return None


def _backend(name: str) -> Device:
    module, _, attribute = BACKENDS[name].partition(":")
    made: Device = getattr(importlib.import_module(module), attribute)()
    return made
