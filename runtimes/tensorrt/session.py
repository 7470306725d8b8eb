"""An execution context with its stream and buffers: what one thread needs of an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError
from edgead.runtimes.tensorrt import library
from edgead.runtimes.tensorrt.device import CudaError, Device, DeviceBuffer, PinnedBuffer
from edgead.runtimes.tensorrt.graph import Graph

INPUT, MAP, SCORE = "image", "anomaly_map", "score"


@dataclass(frozen=True)
class Split:
    """Milliseconds of one batch, by the GPU's own clock."""

    host_to_device_ms: float
    compute_ms: float
    device_to_host_ms: float


@dataclass(frozen=True)
class _Tensor:
    """Memory of one input or output, for the largest batch."""

    host: PinnedBuffer
    device: DeviceBuffer
    item_shape: tuple[int, ...]
    dtype: Any

    def view(self, batch: int) -> npt.NDArray[Any]:
        """Return the host's memory of a batch's values."""
        size = batch * int(np.prod(self.item_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        values: npt.NDArray[Any] = self.host.array[:size].view(self.dtype)
        return values.reshape(batch, *self.item_shape)


class Session:
    """Runs an engine in one thread at a time; all calls inside ``with device.current():``.

    Args:
        trt: The tensorrt package.
        device: The GPU.
        engine: A deserialised engine with edgead's contract.
        log: The engine's logger.
        largest: Batch to make room for.

    Raises:
        EdgeadError: TensorRT makes no context, mostly for want of memory.
    """

    def __init__(self, trt: Any, device: Device, engine: Any, log: Any, largest: int) -> None:
        self._device, self._log = device, log
        self._clean_up = contextlib.ExitStack()
        self.stream = device.create_stream()
        self._clean_up.callback(self.stream.destroy)
        self._batch = 0
        self._runs_of_batch = 0
        self._graph: Graph | None = None
        self.graph_failure: str | None = None
        """Why no CUDA graph is used; ``None`` while one is, or before it was tried."""
        try:
            del log.errors[:]
            # Not in a local variable: an error's traceback would keep it alive beyond the device.
            self._context = engine.create_execution_context()
            if self._context is None:
                raise CudaError(f"TensorRT made no execution context: {library.reason(log)}")
            self._events = [device.create_event() for _ in range(4)]
            for event in self._events:
                self._clean_up.callback(event.destroy)
            self._tensors = {
                name: self._make_room(engine, name, dtype, largest)
                for name, dtype in ((INPUT, np.uint8), (MAP, np.float32), (SCORE, np.float32))
            }
        except BaseException:
            self.close()
            raise

    def _make_room(self, engine: Any, name: str, dtype: Any, largest: int) -> _Tensor:
        shape = tuple(int(side) for side in engine.get_tensor_shape(name))[1:]
        size = largest * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        host = self._device.allocate_pinned(size)
        self._clean_up.callback(host.free)
        device = self._device.allocate(size)
        self._clean_up.callback(device.free)
        if not self._context.set_tensor_address(name, device.address):
            raise CudaError(f"TensorRT took no address for '{name}': {library.reason(self._log)}")
        return _Tensor(host, device, shape, dtype)

    def run(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Split]:
        """Score a batch.

        Args:
            images: uint8 ``[N, height, width, 3]``, ``N`` within the engine's profile.

        Returns:
            ``anomaly_map`` float32 ``[N, h, w]`` and ``score`` float32 ``[N]``, copies of their
            own, and the time that it took.
        """
        batch = len(images)
        pixels, maps, scores = (self._tensors[name] for name in (INPUT, MAP, SCORE))
        if batch != self._batch:
            self._set_batch(images.shape)
        compute = self._prepare()
        begin, uploaded, computed, end = self._events
        pixels.view(batch)[...] = images
        begin.record(self.stream)
        self._device.upload(pixels.device, _bytes(pixels.view(batch)), self.stream)
        uploaded.record(self.stream)
        compute()
        computed.record(self.stream)
        for tensor in (maps, scores):
            self._device.download(_bytes(tensor.view(batch)), tensor.device, self.stream)
        end.record(self.stream)
        self.stream.synchronize()
        split = Split(
            uploaded.milliseconds_since(begin),
            computed.milliseconds_since(uploaded),
            end.milliseconds_since(computed),
        )
        return maps.view(batch).copy(), scores.view(batch).copy(), split

    def _set_batch(self, shape: tuple[int, ...]) -> None:
        # A recorded graph is only good for the shapes it was recorded with.
        self._drop_graph()
        self._batch = 0
        if not self._context.set_input_shape(INPUT, tuple(shape)):
            raise EdgeadError(
                f"TensorRT refused the input shape {list(shape)}: {library.reason(self._log)}"
            )
        self._batch, self._runs_of_batch = shape[0], 0

    def _prepare(self) -> Callable[[], None]:
        """Return what queues the computation: a graph from the third batch of one size on.

        TensorRT sets things up in the first run after a change of shape, and forbids recording it.
        """
        self._runs_of_batch += 1
        if self._graph is None and self.graph_failure is None and self._runs_of_batch > 2:
            try:
                self._graph = Graph(self.stream, self._enqueue)
            except CudaError as error:
                self.graph_failure = str(error)
        graph = self._graph
        if graph is None:
            return self._enqueue
        return lambda: graph.launch(self.stream)

    def _enqueue(self) -> None:
        del self._log.errors[:]
        if not self._context.execute_async_v3(self.stream.handle):
            raise CudaError(f"TensorRT's inference failed: {library.reason(self._log)}")

    @property
    def uses_graph(self) -> bool:
        """Whether the last batch ran as a CUDA graph."""
        return self._graph is not None

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.destroy()
            self._graph = None

    def close(self) -> None:
        """Free the context, the stream and the buffers, once nothing uses them any more."""
        with contextlib.suppress(CudaError):  # after a failure, which has been told already
            self.stream.synchronize()
        self._drop_graph()
        self._context = None
        self._clean_up.close()


def _bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return values.reshape(-1).view(np.uint8)
