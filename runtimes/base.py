"""The contract that every runtime keeps."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead.artifact import Artifact
from edgead.errors import EdgeadError, RuntimeUnavailableError, UsageError

PRECISIONS = ("f32", "bf16", "f16")
HINTS = ("latency", "throughput")


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime may use the machine.

    Attributes:
        threads: Threads of one inference; ``None`` means one per physical core.
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
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")
        if self.precision not in (None, *PRECISIONS):
            raise UsageError(
                f"there is no precision '{self.precision}'; choose one of: {', '.join(PRECISIONS)}"
            )
        if self.hint not in HINTS:
            raise UsageError(f"there is no hint '{self.hint}'; choose one of: {', '.join(HINTS)}")


@dataclass(frozen=True)
class RuntimeInfo:
    """What really runs: for reports, and to see that nothing fell back in silence."""

    name: str
    version: str
    provider: str
    device: str
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
        anomaly_map: float32 ``[N, h, w]``.
        score: float32 ``[N]``.
        transfers: Where the device has memory of its own; ``None`` where there is nothing to copy.
    """

    anomaly_map: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    transfers: Transfers | None = None


class Runtime(abc.ABC):
    """Runs one artifact: open, infer, close.

    Use it as a context manager; :meth:`infer` outside is an error. One open runtime may be shared
    by threads.
    """

    name: ClassVar[str]
    speed_rank: ClassVar[int]
    """The order of listings, highest first; ``auto`` asks :meth:`speed_rank_for`."""

    def __init__(self, artifact: Artifact, options: RuntimeOptions | None = None) -> None:
        self.artifact = artifact
        self.options = options or RuntimeOptions()
        self._is_open = False

    @classmethod
    @abc.abstractmethod
    def unavailable(cls) -> str | None:
        """Say in one sentence why this runtime cannot work on this machine; ``None`` if it can.

        Imports nothing large: it is asked before another runtime is opened.
        """

    @classmethod
    def broken(cls) -> str | None:
        """Import what this runtime needs and say why that fails; ``None`` if it does not."""
        reason = cls.unavailable()
        if reason is not None:
            return reason
        try:
            cls._import()
        except RuntimeUnavailableError as error:
            return str(error)
        return None

    @classmethod  # noqa: B027
    def _import(cls) -> None:
        """Import the library, or raise :class:`RuntimeUnavailableError`; some have none."""

    @classmethod
    def refuses(cls, artifact: Artifact) -> str | None:
        """Say why this runtime cannot open this artifact; ``None`` if it can."""
        if artifact.path.suffix != ".onnx":
            return f"it opens .onnx files, not {artifact.path.suffix or 'files without a suffix'}"
        return None

    @classmethod
    def speed_rank_for(cls, artifact: Artifact) -> int:
        """Return this runtime's place for one artifact: ``auto`` tries the highest first."""
        return cls.speed_rank

    @abc.abstractmethod
    def _open(self) -> None:
        """Load the artifact."""

    @abc.abstractmethod
    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        """Run the graph on a checked batch."""

    @abc.abstractmethod
    def _close(self) -> None:
        """Free what :meth:`_open` took."""

    @abc.abstractmethod
    def describe(self) -> RuntimeInfo:
        """Say what is in use; only while open."""

    def open(self) -> None:
        """Load the artifact; does nothing where it is open already."""
        if not self._is_open:
            self._open()
            self._is_open = True

    def close(self) -> None:
        """Free memory and devices; does nothing where it is closed already."""
        if self._is_open:
            self._is_open = False
            self._close()

    def infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        """Score a batch.

        Args:
            images: uint8 ``[N, height, width, 3]`` BGR at the artifact's input size.

        Raises:
            EdgeadError: The runtime is not open, or the batch is of another shape or type.
        """
        if not self._is_open:
            raise EdgeadError(
                f"the {self.name} runtime is not open: call infer inside 'with runtime:'"
            )
        size = self.artifact.manifest.input
        expected = (size.height, size.width, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise EdgeadError(
                f"infer needs uint8 images of shape [N, {size.height}, {size.width}, 3], but got "
                f"{images.dtype} {list(images.shape)}"
            )
        if not len(images):
            raise EdgeadError("infer needs at least one image, but got an empty batch")
        return self._infer(np.ascontiguousarray(images))

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
