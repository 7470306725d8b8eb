"""CUDA graphs: what a stream does, recorded once and started with one call."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_uint, c_uint64, c_void_p

from edgead.runtimes.tensorrt.device import CudaError, Stream
from edgead.runtimes.tensorrt.libcuda import Driver

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


class Graph:
    """Work of a stream, ready to be started again.

    pycuda has no graphs; handles of streams are the driver's own, so this serves every backend.

    Args:
        stream: Where the work goes.
        queue: Queues the work; runs once, while the stream records and does nothing.

    Raises:
        CudaError: The work cannot be recorded.
    """

    def __init__(self, stream: Stream, queue: Callable[[], None]) -> None:
        self._call = call = Driver()
        handle, graph = c_void_p(stream.handle), c_void_p()
        call("cuStreamBeginCapture_v2", handle, c_uint(_THREAD_LOCAL))
        failed: CudaError | None = None
        try:
            queue()
        except CudaError as error:
            failed = error
        finally:
            try:  # the stream must leave its recording state, whatever happened
                call("cuStreamEndCapture", handle, byref(graph))
            except CudaError as error:
                failed = failed or error
        try:
            if failed is not None:
                raise failed
            self._ready = c_void_p()
            call("cuGraphInstantiateWithFlags", byref(self._ready), graph, c_uint64(0))
        finally:
            if graph.value:
                call("cuGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        """Queue the work again."""
        self._call("cuGraphLaunch", self._ready, c_void_p(stream.handle))

    def destroy(self) -> None:
        """Free it."""
        self._call("cuGraphExecDestroy", self._ready)
