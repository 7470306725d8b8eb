"""The kinds of file that an export writes, by the name in the manifest's ``precision``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """What one value of the manifest's ``precision`` stands for.

    Attributes:
        name: As in the manifest and in file names.
        arithmetic: Arithmetic of most of the network: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        quantization: How the ranges of INT8 activations are found; ``None`` where nothing is INT8,
            and for names that this version does not know.
        made_for: Names of the runtimes that the file is written for; empty for every runtime.
        engine: Arithmetic of the TensorRT engine that is built from the file; ``None`` where
            TensorRT cannot read it.
        option: The option of ``edgead export`` that writes it; empty for what is always written.
    """

    name: str
    arithmetic: str
    quantization: Literal["static", "dynamic"] | None = None
    made_for: frozenset[str] = frozenset()
    engine: str | None = None
    option: str = ""

    @property
    def is_int8(self) -> bool:
        """Whether most of the network computes in INT8."""
        return self.arithmetic == "int8"

    @property
    def only_builds_engines(self) -> bool:
        """Whether it is no file to run: TensorRT builds an engine from it, others run it slowly."""
        return self.engine is not None and self.made_for == {"tensorrt"}

    def is_made_for(self, runtime: str) -> bool:
        """Whether the file is written for a runtime; others may open it, and are slower."""
        return not self.made_for or runtime in self.made_for


FP32 = Kind("fp32", "fp32", engine="fp32")
FP16 = Kind("fp16", "fp16", engine="fp16", option="--fp16")
INT8 = Kind(
    "int8",
    "int8",
    "static",
    made_for=frozenset({"onnxruntime", "openvino"}),
    option="--int8 static",
)
INT8_DYNAMIC = Kind("int8-dynamic", "int8", "dynamic", option="--int8 dynamic")
INT8_TENSORRT = Kind(
    "int8-tensorrt",
    "int8",
    "static",
    made_for=frozenset({"tensorrt"}),
    engine="int8",
    option="--tensorrt int8",
)

KINDS = {kind.name: kind for kind in (FP32, FP16, INT8, INT8_DYNAMIC, INT8_TENSORRT)}
"""Every kind of ONNX file, FP32 first."""


def kind_of(precision: str) -> Kind:
    """Return what a manifest's or a result's ``precision`` stands for.

    A name of a later version is no error: it gives a kind that no runtime is named for and no
    engine is built from. Its arithmetic is the first word of the name, as in the names above.
    """
    return KINDS.get(precision) or Kind(precision, precision.partition("-")[0])


def engine_kind(precision: str) -> Kind:
    """Return the kind of a TensorRT engine, which is built in one precision and runs nowhere else.

    Args:
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
    """
    return Kind(
        precision,
        precision,
        quantization="static" if precision == INT8.arithmetic else None,
        made_for=frozenset({"tensorrt"}),
        option=f"--tensorrt {precision}",
    )


def source_of(engine: str) -> Kind:
    """Return the kind of ONNX file that a TensorRT engine of one precision is built from.

    Args:
        engine: ``"fp32"``, ``"fp16"`` or ``"int8"``.
    """
    return next(kind for kind in KINDS.values() if kind.engine == engine)
