"""Runs artifacts with ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead import cpu
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError
from edgead.runtimes import heap
from edgead.runtimes.base import ContractError, RawOutput, Runtime, RuntimeInfo
from edgead.runtimes.onnxruntime.library import PROVIDER, conflict, crashes_here, load
from edgead.runtimes.onnxruntime.session import exact_options


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU execution provider."""

    name: ClassVar[str] = "onnxruntime"
    speed_rank: ClassVar[int] = 10
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    _session: Any = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Say why ONNX Runtime cannot work here; ``None`` if it can."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package is not installed: pip install onnxruntime"
        return crashes_here()

    @classmethod
    def conflict(cls) -> str | None:
        """Name the packages that install ONNX Runtime beside each other; ``None`` for one."""
        return conflict()

    @classmethod
    def _import(cls) -> None:
        load()

    def _open(self) -> None:
        onnxruntime = load()
        if self.options.precision not in (None, "f32"):
            raise RuntimeUnavailableError(
                f"ONNX Runtime computes in f32 only on a CPU, not in {self.options.precision}: "
                "leave out the precision, or use the runtime 'openvino'"
            )
        if self.options.hint != "latency":
            raise RuntimeUnavailableError(
                f"ONNX Runtime has no setting for {self.options.hint}: leave out the hint, or use "
                "the runtime 'openvino'"
            )
        options = exact_options(self._threads)
        # Reserves the whole pattern of the first batch for good: 9 MiB with efficientad-n, for no
        # gain in speed (docs/notes/memory.md).
        options.enable_mem_pattern = False
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "1" if self.options.spinning else "0"
        )
        model = self.artifact.content()
        try:
            # Its fallback would print to standard output and do the same again.
            session = onnxruntime.InferenceSession(
                model, options, providers=[PROVIDER], enable_fallback=0
            )
            inputs = [(node.name, node.type) for node in session.get_inputs()]
        except Exception as error:
            # onnxruntime raises a class of its own for every status code, all plain Exceptions.
            raise ArtifactError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {self.artifact.path}: "
                f"{_reason(error)}"
            ) from error
        if session.get_providers() != [PROVIDER]:
            raise EdgeadError(
                f"ONNX Runtime was asked for {PROVIDER} but took {session.get_providers()}"
            )
        if inputs != [("image", "tensor(uint8)")]:
            raise ContractError(
                f"{self.artifact.path} has the inputs {inputs}, but must have one, "
                "uint8 'image': export it again"
            )
        # For a second try with other providers, which is not wanted: ten megabytes for nothing.
        session._model_bytes = None
        self._session = session
        del model
        heap.return_freed()

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        try:
            anomaly_map, score = self._session.run(["anomaly_map", "score"], {"image": images})
        except Exception as error:
            raise EdgeadError(
                f"ONNX Runtime failed on a batch of {len(images)}: {_reason(error)}"
            ) from error
        return RawOutput(anomaly_map, score)

    def _close(self) -> None:
        self._session = None

    def _describe(self) -> RuntimeInfo:
        """Say which version, provider and number of threads are in use."""
        onnxruntime = load()
        return RuntimeInfo(
            name=self.name,
            version=onnxruntime.__version__,
            provider=PROVIDER,
            device=cpu.model_name(),
            device_kind="cpu",
            threads=self._threads,
            details={"spinning": self.options.spinning, "precision": "f32", "hint": "latency"},
        )

    @property
    def _threads(self) -> int:
        return self.options.threads or cpu.default_threads()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a name in it is not UTF-8"
    return (str(error).splitlines() or [type(error).__name__])[0]
