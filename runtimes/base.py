"""The contract that every runtime keeps."""

from __future__ import annotations

import abc
import os
import warnings
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from edgead.artifact import ONNX_SUFFIX, Artifact
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError, UsageError
from edgead.runtimes import forks, outputs
from edgead.runtimes.usage import State, Usage

PRECISIONS = ("f32", "bf16", "f16")
HINTS = ("latency", "throughput")

WINDOWS_AT_ONCE = 4
"""A compromise of time and memory (docs/notes/tiles.md)."""

DeviceKind = Literal["cpu", "gpu", "npu"]


def most_threads() -> int:
    """Return how many threads may be asked for: far more than help, few enough to be started."""
    return max(256, 4 * (os.cpu_count() or 1))


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime may use the machine.

    Attributes:
        threads: Threads of one inference; ``None`` means :func:`edgead.cpu.default_threads`.
        spinning: Whether idle worker threads may spin between frames: lower latency for a full
            core of power. Turn it off on a battery or a shared CPU. Only ONNX Runtime has the
            choice.
        precision: Arithmetic of the layers that are not INT8. ``None`` is what the scores were
            checked with: float32 on a CPU. ``"bf16"`` and ``"f16"`` are faster where the
            processor has them, and move scores; a runtime that cannot is an error.
        hint: ``"latency"`` for one frame as soon as possible; ``"throughput"`` for most frames of
            several threads; a runtime that has no such choice is an error.
    """

    threads: int | None = None
    spinning: bool = True
    precision: str | None = None
    hint: str = "latency"

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= most_threads():
            raise UsageError(
                f"threads must be at least 1 and at most {most_threads()} on this machine, not "
                f"{self.threads}"
            )
        if self.precision not in (None, *PRECISIONS):
            raise UsageError(
                f"unknown precision '{self.precision}'; choose one of: {', '.join(PRECISIONS)}"
            )
        if self.hint not in HINTS:
            raise UsageError(f"unknown hint '{self.hint}'; choose one of: {', '.join(HINTS)}")


@dataclass(frozen=True)
class RuntimeInfo:
    """The runtime in use, for reports; it shows a silent fallback.

    Attributes:
        name: Name of the runtime.
        version: Version of its library.
        provider: Part of the library that runs the network, as the library names it.
        device: Name of the processor.
        device_kind: Where the network runs. A benchmark reads that part's clock and power.
        threads: Threads of one inference; ``None`` where they do not run the network.
        details: Further values for reports.
    """

    name: str
    version: str
    provider: str
    device: str
    device_kind: DeviceKind
    threads: int | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Transfers:
    """Milliseconds that a batch took to reach the device's memory and to come back from it."""

    host_to_device_ms: float
    device_to_host_ms: float


@dataclass(frozen=True)
class RawOutput:
    """The graph's outputs for a batch.

    Attributes:
        anomaly_map: Raw maps, float32 ``[N, h, w]``.
        score: Raw scores, float32 ``[N]``.
        transfers: Copy times of a device with its own memory; ``None`` where nothing is copied.
    """

    anomaly_map: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    transfers: Transfers | None = None


class ContractError(ArtifactError):
    """A graph contradicts its manifest, or its outputs are not finite numbers.

    Args:
        message: The whole sentence, which names the file.
        problem: What is wrong, for a caller that has another name for the file.
    """

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem or message


class Runtime(abc.ABC):
    """Runs one artifact: open, infer, close.

    Use it as a context manager; :meth:`infer` outside is an error. One open runtime may be shared
    by threads, but not with a process that was forked after it was opened.
    """

    name: ClassVar[str]
    speed_rank: ClassVar[int]
    """Order in lists, highest first; ``auto`` uses :meth:`speed_rank_for`."""
    suffixes: ClassVar[tuple[str, ...]] = (ONNX_SUFFIX,)
    """Suffixes of the files that it opens, lower case (:mod:`edgead.artifact.containers`)."""
    uses_threads: ClassVar[bool] = True
    """Whether :attr:`RuntimeOptions.threads` changes the speed."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions a benchmark reports, as pip names them."""

    def __init__(self, artifact: Artifact, options: RuntimeOptions | None = None) -> None:
        self.artifact = artifact
        self.options = options or RuntimeOptions()
        self._usage = Usage()

    @classmethod
    @abc.abstractmethod
    def unavailable(cls) -> str | None:
        """Return in one sentence why this runtime cannot work on this machine; ``None`` if it can.

        Imports nothing large: it is asked before another runtime is opened.
        """

    @classmethod
    def broken(cls) -> str | None:
        """Import the library and return why that fails; ``None`` if it does not."""
        reason = cls.unavailable()
        if reason is not None:
            return reason
        try:
            cls._import()
        except RuntimeUnavailableError as error:
            return str(error)
        return None

    @classmethod
    def conflict(cls) -> str | None:
        """Name packages that overwrite each other, though it works; ``None`` if none do."""
        return None

    @classmethod  # noqa: B027
    def _import(cls) -> None:
        """Import the library, or raise :class:`RuntimeUnavailableError`; some have none."""

    @classmethod
    def refuses(cls, artifact: Artifact) -> str | None:
        """Return why this runtime cannot open this artifact; ``None`` if it can."""
        if artifact.path.suffix.lower() in cls.suffixes:
            return None
        return (
            f"it opens {' and '.join(cls.suffixes)} files, not "
            f"{artifact.path.suffix or 'files without a suffix'}"
        )

    @classmethod
    def speed_rank_for(cls, artifact: Artifact) -> int:
        """Return this runtime's place for one artifact: ``auto`` tries the highest first."""
        return cls.speed_rank

    @abc.abstractmethod
    def _open(self) -> None:
        """Load the artifact, from :meth:`Artifact.content` and not from its path."""

    @abc.abstractmethod
    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        """Run the graph on a checked batch."""

    @abc.abstractmethod
    def _close(self) -> None:
        """Free what :meth:`_open` took; no thread is inferring."""

    @abc.abstractmethod
    def _describe(self) -> RuntimeInfo:
        """Return what is in use; called while open."""

    @property
    def _smallest_batch(self) -> int:
        """The fewest images that :meth:`_infer` takes."""
        return 1

    @property
    def _windows_at_once(self) -> int:
        """The most windows of a frame that :meth:`infer_in_batches` gives :meth:`_infer`."""
        return WINDOWS_AT_ONCE

    @property
    def is_open(self) -> bool:
        """Whether :meth:`infer` may be called, in this process."""
        return self._usage.state is State.OPEN

    def open(self) -> None:
        """Load the artifact and try it on one picture; does nothing where it is open already.

        Raises:
            ArtifactError: It cannot be loaded, or (:class:`ContractError`) its outputs are not
                those of its manifest.
            RuntimeUnavailableError: This runtime cannot work as the options ask.
        """
        self._usage.open(self._open_and_try)

    def close(self) -> None:
        """Free memory and devices; does nothing where it is closed already.

        Waits for inferences that other threads have begun, and lets no other begin.
        """
        self._usage.close(self._close_and_forget)

    def describe(self) -> RuntimeInfo:
        """Return the runtime, device and threads in use.

        Raises:
            EdgeadError: The runtime is not open.
        """
        self._enter("describe")
        try:
            return self._describe()
        finally:
            self._usage.leave()

    def infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        """Score a batch.

        Args:
            images: uint8 ``[N, height, width, 3]`` BGR at the artifact's input size.

        Raises:
            EdgeadError: The runtime is not open, the batch has another shape or type, or outputs
                contradict the manifest or are not finite.
        """
        self._enter("infer")
        try:
            size = self.artifact.manifest.input
            expected = (size.height, size.width, 3)
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
                raise EdgeadError(
                    f"infer needs uint8 images of shape [N, {size.height}, {size.width}, 3], but "
                    f"got {images.dtype} {list(images.shape)}"
                )
            if not len(images):
                raise EdgeadError("infer needs at least one image, but got an empty batch")
            output = self._infer(np.ascontiguousarray(images))
        finally:
            self._usage.leave()
        problem = self._problem(output, len(images))
        if problem is not None:
            raise ContractError(
                f"{self.artifact.path} gives wrong results in the {self.name} runtime: {problem}; "
                "the file or the runtime is faulty, so there is no verdict: export it again",
                problem,
            )
        return output

    def infer_in_batches(self, windows: npt.NDArray[np.uint8]) -> RawOutput:
        """Score the windows of frames, a few at a time: a large frame has more than fit in memory.

        Args:
            windows: As :meth:`infer` takes images; any number.

        Raises:
            EdgeadError: As :meth:`infer`.
        """
        most, least = self._windows_at_once, self._smallest_batch
        outputs = []
        for at in range(0, len(windows), most):
            part = windows[at : at + most]
            missing = least - len(part)
            if missing > 0:
                part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            outputs.append(self.infer(part))
        if len(outputs) == 1 and len(outputs[0].score) == len(windows):
            return outputs[0]
        moved = [output.transfers for output in outputs if output.transfers is not None]
        return RawOutput(
            np.concatenate([output.anomaly_map for output in outputs])[: len(windows)],
            np.concatenate([output.score for output in outputs])[: len(windows)],
            Transfers(
                sum(part.host_to_device_ms for part in moved),
                sum(part.device_to_host_ms for part in moved),
            )
            if moved
            else None,
        )

    def left_in_parent(self) -> None:
        """Refuse everything from now on: this process was forked while the runtime was open."""
        self._usage = Usage()  # a thread that does not exist here may hold the other one's locks
        self._usage.state = State.LEFT_IN_PARENT

    def _enter(self, call: str) -> None:
        if self._usage.enter():
            return
        if self._usage.state is State.LEFT_IN_PARENT:
            raise EdgeadError(
                f"the {self.name} runtime was opened before this process was forked: open the "
                "detector after the fork (gunicorn: without --preload, or in post_fork)"
            )
        raise EdgeadError(
            f"the {self.name} runtime is not open: it was closed, or never opened; create a new "
            f"EdgeDetector, or call {call} inside 'with runtime:'"
        )

    def _open_and_try(self) -> None:
        self._open()
        try:
            self._try()
        except BaseException:
            self._close()
            raise
        forks.watch(self)

    def _try(self) -> None:
        """Run the network once, because a seal says nothing about what a graph computes."""
        count = self._smallest_batch
        image = outputs.trial_image(self.artifact.manifest.input)
        try:
            problem = self._problem(self._infer(np.repeat(image[None], count, 0)), count)
        except EdgeadError as error:
            problem = str(error)
        if problem is not None:
            raise ContractError(
                f"{self.artifact.path} contradicts its manifest in the {self.name} runtime: "
                f"{problem}; export it again",
                problem,
            )

    def _problem(self, output: RawOutput, count: int) -> str | None:
        spec = self.artifact.manifest.map
        return outputs.problem(output.anomaly_map, output.score, count, spec)

    def _close_and_forget(self) -> None:
        forks.forget(self)
        self._close()

    def __enter__(self) -> Runtime:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        usage = self.__dict__.get("_usage")  # missing where a subclass failed before it was set
        if usage is not None and usage.state is State.OPEN:
            warnings.warn(
                f"{self.artifact.path} was left open in the {self.name} runtime: close the "
                "detector, or use it in a 'with' block",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
