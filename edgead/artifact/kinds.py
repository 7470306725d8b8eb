"""The kinds of ONNX file that an export writes, by the name in the manifest's ``precision``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arithmetic = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Kind:
    """What one value of the manifest's ``precision`` stands for.

    Attributes:
        name: As in the manifest and in file names.
        arithmetic: Of most of the network.
        quantization: How the ranges of INT8 activations are found; ``None`` where nothing is INT8.
        made_for: Names of the runtimes that the file is written for; empty for every runtime.
        engine: Arithmetic of the TensorRT engine that is built from the file; ``None`` where
            TensorRT cannot read it.
        option: The option of ``edgead export`` that writes it; empty for what is always written.
    """

    name: str
    arithmetic: Arithmetic
    quantization: Literal["static", "dynamic"] | None = None
    made_for: frozenset[str] = frozenset()
    engine: Arithmetic | None = None
    option: str = ""

    @property
    def is_int8(self) -> bool:
        """Whether most of the network computes in INT8."""
        return self.arithmetic == "int8"

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
