"""Runs artifacts with OpenVINO on the CPU."""

from __future__ import annotations

import importlib.util
import platform
import threading
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgead import cpu
from edgead.artifact import Artifact
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError
from edgead.runtimes import heap
from edgead.runtimes.base import ContractError, RawOutput, Runtime, RuntimeInfo
from edgead.runtimes.openvino import library

_DEVICE = "CPU"
_INPUT, _MAP, _SCORE = "image", "anomaly_map", "score"
_PREFERRED = 20


class OpenVinoRuntime(Runtime):
    """OpenVINO's CPU plugin.

    Arithmetic is float32 unless :attr:`RuntimeOptions.precision` asks for less: where a CPU
    multiplies bfloat16, OpenVINO would take it by itself, and scores would move by more than a
    hundredth of their range. INT8 layers run as INT8 either way.

    A batch of one, which is what a camera gives, has a graph of its own with fixed shapes; all
    other batches share one with a dynamic batch, compiled when the first of them comes.
    """

    name: ClassVar[str] = "openvino"
    speed_rank: ClassVar[int] = 5
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    @classmethod
    def speed_rank_for(cls, artifact: Artifact) -> int:
        """Return its place: before ONNX Runtime for static INT8, which it runs faster.

        In float32 both take the same time (docs/notes/baselines.md). No Arm CPU has been
        measured, so there the base install's ONNX Runtime goes first.
        """
        is_x86 = platform.machine().lower() in cpu.X86
        kind = artifact.manifest.kind
        pays = kind.quantization == "static" and kind.is_made_for(cls.name)
        return _PREFERRED if is_x86 and pays else cls.speed_rank

    @classmethod
    def unavailable(cls) -> str | None:
        """Say why OpenVINO cannot work here; ``None`` if it can."""
        if importlib.util.find_spec("openvino") is None:
            return "the package is not installed: pip install 'edgead[openvino]'"
        return None

    @classmethod
    def _import(cls) -> None:
        library.load()

    @classmethod
    def refuses(cls, artifact: Artifact) -> str | None:
        """Say why OpenVINO cannot open this artifact; ``None`` if it can."""
        reason = super().refuses(artifact)
        if reason is not None:
            return reason
        kind = artifact.manifest.kind
        if kind.is_int8 and not kind.is_made_for(cls.name):
            # Measured: off by a quarter of the score range from ONNX Runtime, which is exact.
            return (
                "for INT8 files made for TensorRT, it computes other scores than those that the "
                "accuracy gate measured; use the file without '-tensorrt' in its name"
            )
        if artifact.manifest.overflows_16_bits and not cpu.adds_int8_exactly():
            # oneDNN has no slower kernel without that overflow, as ONNX Runtime has.
            return (
                f"this CPU ({cpu.model_name()}) has neither VNNI nor AMX, so OpenVINO saturates "
                f"INT8 sums at 16 bits, and the weights of {artifact.path} can exceed that: export "
                "it again with this version of edgead, whose weights cannot, or use ONNX Runtime, "
                "whose sums are exact"
            )
        return None

    def _open(self) -> None:
        self._compiling = threading.Lock()
        self._pools: dict[bool, _Pool] = {}
        self._pool(is_single=True)

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        pool = self._pool(is_single=len(images) == 1)
        try:
            return pool.infer(images)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise EdgeadError(
                f"OpenVINO failed on a batch of {len(images)}: {_reason(error)}"
            ) from error

    def _close(self) -> None:
        self._pools.clear()

    def _describe(self) -> RuntimeInfo:
        """Say which version, precision and number of threads and streams are in use."""
        openvino = library.load()

        compiled = self._pool(is_single=True).compiled
        return RuntimeInfo(
            name=self.name,
            version=str(openvino.__version__).partition("-")[0],
            provider=",".join(compiled.get_property("EXECUTION_DEVICES")),
            device=cpu.model_name(),
            device_kind="cpu",
            threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
            details={
                "hint": self.options.hint,
                "streams": int(compiled.get_property("NUM_STREAMS")),
                "precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
                "convolutions": _convolutions(compiled),
            },
        )

    def _pool(self, is_single: bool) -> _Pool:
        pool = self._pools.get(is_single)
        if pool is None:
            with self._compiling:
                if is_single not in self._pools:
                    self._pools[is_single] = _Pool(self._compile(is_single))
                pool = self._pools[is_single]
        return pool

    def _compile(self, is_single: bool) -> Any:
        openvino = library.load()

        threads = self.options.threads or cpu.default_threads()
        precision = self.options.precision or "f32"
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": self.options.hint.upper(),
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            # Pinned threads of two processes can share a core while another one is idle.
            "ENABLE_CPU_PINNING": False,
        }
        if self.options.hint == "latency":
            settings["NUM_STREAMS"] = 1
        try:
            core = openvino.Core()
            model = core.read_model(self.artifact.content())
            heap.return_freed()  # the file's bytes, before compiling takes as much again
            self._check_contract(openvino, model)
            if is_single:
                size = self.artifact.manifest.input
                model.reshape({_INPUT: [1, size.height, size.width, 3]})
            with library.same_signal_stack():
                compiled = core.compile_model(model, _DEVICE, settings)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"OpenVINO {openvino.__version__.partition('-')[0]} cannot load "
                f"{self.artifact.path}: {_reason(error)}"
            ) from error
        del model
        heap.return_freed()
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != precision:
            raise RuntimeUnavailableError(
                f"OpenVINO cannot compute in {precision} on this CPU ({cpu.model_name()}) and used "
                f"{used}: choose {used}, or leave out the precision"
            )
        return compiled

    def _check_contract(self, openvino: Any, model: Any) -> None:
        """Refuse a graph with other inputs: OpenVINO would run it on memory that nobody wrote."""
        size = self.artifact.manifest.input
        ours = openvino.PartialShape([-1, size.height, size.width, 3])
        inputs = model.inputs
        is_ours = (
            len(inputs) == 1
            and _INPUT in inputs[0].names
            and inputs[0].element_type == openvino.Type.u8
            and ours.compatible(inputs[0].partial_shape)
        )
        found = {name: node.element_type for node in model.outputs for name in node.names}
        is_ours = is_ours and all(found.get(name) == openvino.Type.f32 for name in (_MAP, _SCORE))
        if not is_ours:
            takes = ", ".join(map(_port, inputs)) or "nothing"
            gives = ", ".join(map(_port, model.outputs))
            raise ContractError(
                f"{self.artifact.path} takes {takes} and gives {gives}, but must take u8 "
                f"{_INPUT} {ours} and give f32 {_MAP} and {_SCORE}: export it again"
            )


class _Pool:
    """A compiled graph and the requests of the threads that have used it."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._idle: list[Any] = []

    def infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.compiled.create_infer_request()
        request.infer({_INPUT: images}, share_inputs=True)
        # The tensors belong to the request, and the next thread overwrites them.
        output = RawOutput(
            request.get_tensor(_MAP).data.copy(), request.get_tensor(_SCORE).data.copy()
        )
        self._idle.append(request)
        return output


def _port(node: Any) -> str:
    name = min(node.names, default="(no name)")
    return f"{node.element_type.get_type_name()} {name} {node.partial_shape}"


def _convolutions(compiled: Any) -> dict[str, int]:
    """Count the convolutions by the arithmetic they really run in."""
    counts: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        facts = layer.get_rt_info()
        if "layerType" in facts and facts["layerType"].astype(str) == "Convolution":
            counts[facts["runtimePrecision"].astype(str)] += 1
    return dict(counts)


def _reason(error: Exception) -> str:
    """Return the line of OpenVINO's report that says what is wrong; the rest is its own trace."""
    if isinstance(error, UnicodeDecodeError):
        return "a name in it is not UTF-8"
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip("- ")]
    unknown = [line for line in lines if line.startswith("No conversion rule")]
    return (unknown or lines or ["OpenVINO gave no reason"])[-1]
