"""Runs engines with TensorRT."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead.artifact import ONNX_SUFFIX, Artifact, EngineSpec, rebuild_command
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError
from edgead.runtimes.base import RawOutput, Runtime, RuntimeInfo, Transfers
from edgead.runtimes.tensorrt import library
from edgead.runtimes.tensorrt.device import Device, OutOfDeviceMemory, open_device, why_not_pycuda
from edgead.runtimes.tensorrt.machine import Machine
from edgead.runtimes.tensorrt.session import INPUT, MAP, SCORE, Session


class TensorRT(Runtime):
    """One engine, and for each thread that is inferring a context with its stream and buffers."""

    name: ClassVar[str] = "tensorrt"
    speed_rank: ClassVar[int] = 100
    suffixes: ClassVar[tuple[str, ...]] = (".engine",)
    uses_threads: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("tensorrt", "pycuda")

    _device: Device | None = None
    _trt: Any = None
    _runtime: Any = None
    _engine: Any = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Say why TensorRT cannot work here; ``None`` if it can."""
        return library.problem()

    @classmethod
    def _import(cls) -> None:
        library.load()

    @classmethod
    def refuses(cls, artifact: Artifact) -> str | None:
        """Say why TensorRT cannot open an artifact; ``None`` if it can."""
        if artifact.path.suffix.lower() != ONNX_SUFFIX:
            return super().refuses(artifact)
        return (
            "it opens .engine files; build one on the device that runs it: edgead export "
            f"{artifact.path} --out . --tensorrt"
        )

    @property
    def _smallest_batch(self) -> int:
        return self._spec.batch[0]

    @property
    def _windows_at_once(self) -> int:
        """As many as the engine takes."""
        return self._spec.batch[-1]

    @property
    def _spec(self) -> EngineSpec:
        spec = self.artifact.manifest.engine
        assert spec is not None
        return spec

    def _open(self) -> None:
        self._refuse_choices()
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._made = 0
        # What shares no profile can have one context only: threads take turns.
        limit = None if self._spec.shares_profile else 1
        self._turns = threading.Semaphore(limit) if limit else contextlib.nullcontext()
        self._trt = library.load()
        plan = self.artifact.content()
        device = open_device()
        try:
            with device.current():
                self._device = device
                self._deserialise(plan, device)
                self._idle.append(self._new_session(device))
        except BaseException:
            self._close()
            raise

    def _refuse_choices(self) -> None:
        """Refuse what was settled when the engine was built, instead of ignoring it."""
        if self.options.precision is not None:
            raise RuntimeUnavailableError(
                f"{self.artifact.path} was built in {self._spec.precision}, which cannot be "
                f"changed: leave out the precision ({self.options.precision}), or build another "
                "engine (edgead export --tensorrt)"
            )
        if self.options.hint != "latency":
            raise RuntimeUnavailableError(
                f"TensorRT has no setting for {self.options.hint}: leave out the hint; each thread "
                "gets an execution context"
            )

    def _deserialise(self, plan: bytes, device: Device) -> None:
        trt = self._trt
        differences = Machine.here(trt, device).differences(self._spec)
        if differences:
            raise ArtifactError(
                f"{self.artifact.path} was built for {', '.join(differences)}, and an engine runs "
                f"only where it was built; build it again here: {rebuild_command(self._spec)}"
            )
        self._log = library.new_log(trt)
        try:
            self._runtime = trt.Runtime(self._log)
        except TypeError as error:  # how pybind11 says that a factory returned nothing
            raise EdgeadError(
                f"TensorRT {trt.__version__} does not start on {device.name}: "
                f"{library.reason(self._log, str(error))}"
            ) from error
        # Not in a local variable: an error's traceback would keep it alive beyond the device.
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = library.reason(self._log)
            if library.is_out_of_memory(reason):
                raise self._out_of_memory(device, reason)
            raise ArtifactError(
                f"TensorRT {trt.__version__} cannot load {self.artifact.path}: {reason}; build it "
                f"again: {rebuild_command(self._spec)}"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        found = {name: self._engine.get_tensor_dtype(name) for name in names}
        expected = {INPUT: trt.DataType.UINT8, MAP: trt.DataType.FLOAT, SCORE: trt.DataType.FLOAT}
        if found != expected:
            raise ArtifactError(
                f"{self.artifact.path} has the inputs and outputs {found}, but must have "
                f"{expected}: build it again: {rebuild_command(self._spec)}"
            )

    def _new_session(self, device: Device) -> Session:
        try:
            made = Session(self._trt, device, self._engine, self._log, self._spec.batch[-1])
        except OutOfDeviceMemory as error:
            raise self._out_of_memory(device, str(error)) from error
        except EdgeadError as error:
            if library.is_out_of_memory(str(error)):
                raise self._out_of_memory(device, str(error)) from error
            raise
        self._made += 1
        return made

    def _out_of_memory(self, device: Device, reason: str) -> EdgeadError:
        free, total = device.memory()
        already = f" beside the {self._made} that are open" if self._made else ""
        return OutOfDeviceMemory(
            f"the memory of {device.name} ({free >> 20} of {total >> 20} MiB free) is not enough "
            f"for another execution context of {self.artifact.path}{already} ({reason}): close "
            "other programs, use fewer threads, or build the engine for smaller batches (--batch)"
        )

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Take an idle context, or make one; the GPU's context is current meanwhile.

        Raises:
            EdgeadError: The GPU's memory is full.
        """
        device = self._device
        assert device is not None
        with self._turns, device.current(), self._taken(device) as session:
            yield session

    @contextlib.contextmanager
    def _taken(self, device: Device) -> Iterator[Session]:
        with self._lock:  # one thread at a time makes a context
            session = self._idle.pop() if self._idle else self._new_session(device)
        try:
            yield session
        except BaseException:
            session.close()  # its stream may be in any state
            with self._lock:
                self._made -= 1
            raise
        with self._lock:
            self._idle.append(session)

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        smallest, _, largest = self._spec.batch
        if not smallest <= len(images) <= largest:
            raise EdgeadError(
                f"{self.artifact.path} takes batches of {smallest} to {largest} photos, not "
                f"{len(images)}: use a smaller batch, or build it again with: "
                f"{rebuild_command(self._spec, batch=len(images))}"
            )
        with self.session() as session:
            anomaly_map, score, split = session.run(images)
        moved = Transfers(split.host_to_device_ms, split.device_to_host_ms)
        return RawOutput(anomaly_map, score, moved)

    def _close(self) -> None:
        device = self._device
        if device is None:
            return
        sessions, self._idle = self._idle, []
        with device.current():
            for session in sessions:
                session.close()
            del sessions
            # In this order: TensorRT wants its objects gone before what made them.
            self._engine = None
            self._runtime = None
        self._device = None
        device.close()

    def _describe(self) -> RuntimeInfo:
        """Say which GPU, version, precision and memory backend are in use."""
        device = self._device
        assert device is not None
        with self._lock:
            idle = self._idle[-1] if self._idle else None
            made = self._made
        if idle is not None and idle.uses_graph:
            graph = "in use"
        else:
            graph = (idle and idle.graph_failure) or "from the third batch of one size on"
        return RuntimeInfo(
            name=self.name,
            version=str(self._trt.__version__),
            provider=f"TensorRT {self._spec.precision}",
            device=device.name,
            device_kind="gpu",
            threads=None,
            details={
                "compute_capability": ".".join(map(str, device.compute_capability)),
                "cuda_driver": device.driver,
                "memory": device.backend,
                "not_pycuda_because": why_not_pycuda() if device.backend != "pycuda" else None,
                "batch": list(self._spec.batch),
                "contexts": made,
                "threads_take_turns": not self._spec.shares_profile,
                "cuda_graph": graph,
            },
        )
