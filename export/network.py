"""An FP32 graph, and the files of other kinds that are made of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgead.artifact import Manifest, QuantizationSpec
from edgead.artifact.kinds import FP16, FP32, INT8, INT8_DYNAMIC, INT8_TENSORRT, Kind
from edgead.calibration.photos import CalibrationPhotos
from edgead.teaching import DETECTORS

if TYPE_CHECKING:
    import onnx

    from edgead.export.static import StaticInt8

_EXACT = ("onnxruntime",)
"""OpenVINO rounds the residual sums of EfficientNet-Lite0 elsewhere, which moves scores by 1 to 3 %
of their range (docs/how-to/teach.md)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A graph that may become an artifact; two are equal only when they are the same object.

    Attributes:
        graph: Serialised ONNX model.
        manifest: Of the file, with the threshold of what it is made from.
        note: What the report adds to its verdict.
    """

    graph: bytes
    manifest: Manifest
    note: str = ""

    @property
    def kind(self) -> Kind:
        """What kind of file it becomes."""
        return self.manifest.kind


class Network:
    """One detector as an FP32 graph, from which each kind of file is made once.

    Args:
        model: FP32 graph with edgead's contract.
        graph: The same, serialised.
        manifest: Of that graph.
        photos: Good photos to calibrate on.
        calibrator: How ranges of static INT8 are chosen (``edgead.calibration.calibrators``).
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        graph: bytes,
        manifest: Manifest,
        photos: CalibrationPhotos,
        calibrator: str,
    ) -> None:
        self.model, self.photos, self.calibrator = model, photos, calibrator
        self.fp32 = Candidate(graph, manifest.replace(precision=FP32.name, quantization=None))

    def make(self, kind: Kind) -> Candidate:
        """Return the file of one kind.

        Raises:
            GateRefused: The graph cannot become such a file.
        """
        makers: dict[Kind, Callable[[], Candidate]] = {
            FP32: lambda: self.fp32,
            FP16: lambda: self._fp16,
            INT8: lambda: self._int8,
            INT8_DYNAMIC: lambda: self._int8_dynamic,
            INT8_TENSORRT: lambda: self._int8_tensorrt,
        }
        return makers[kind]()

    @functools.cached_property
    def _fp16(self) -> Candidate:
        from edgead.calibration.ranges import extremes
        from edgead.export import fp16
        from edgead.export.tensorrt.onnx_nodes import cast_first

        seen = extremes(self.model, fp16.checked_tensors(self.model), self.photos.for_ranges())
        made = fp16.for_gpus(self.model, seen)
        return self._candidate(FP16, cast_first(made.SerializeToString()), None, "; for GPUs")

    @functools.cached_property
    def _int8_dynamic(self) -> Candidate:
        from edgead.export.dynamic import SCHEME, dynamic_int8
        from edgead.export.refit import refit_head

        made = refit_head(self.model, dynamic_int8(self.model), self.photos.good)
        spec = QuantizationSpec("dynamic", SCHEME, None, 0, None)
        return self._candidate(INT8_DYNAMIC, made.SerializeToString(), spec)

    @functools.cached_property
    def _int8(self) -> Candidate:
        from edgead.export import qdq
        from edgead.export.roles import first_layers
        from edgead.export.static import FLOAT_FIRST_SCHEME

        graph = self._static.onnxruntime.SerializeToString()
        spec = self._quantization(qdq.ONNXRUNTIME_SCHEME)
        if self._is_taught:
            from edgead.teaching.int8 import SCHEME

            spec = dataclasses.replace(spec, scheme=SCHEME, runtimes=_EXACT)
        elif first_layers(self.model):
            spec = dataclasses.replace(spec, scheme=FLOAT_FIRST_SCHEME, runtimes=_EXACT)
        return self._candidate(INT8, graph, spec)

    @functools.cached_property
    def _int8_tensorrt(self) -> Candidate:
        import onnx

        from edgead.export import qdq, tensorrt_rules
        from edgead.export.tensorrt.onnx_nodes import cast_first

        graph = cast_first(self._static.tensorrt.SerializeToString())
        tensorrt_rules.require(onnx.load_from_string(graph))  # what is written, and nothing else
        spec = self._quantization(qdq.TENSORRT_SCHEME)
        return self._candidate(INT8_TENSORRT, graph, spec, "; input for TensorRT engines")

    @functools.cached_property
    def _static(self) -> StaticInt8:
        if self._is_taught:
            from edgead.teaching.int8 import both_graphs

            return both_graphs(self.model, self.photos.for_ranges(), self.photos.good)
        from edgead.export.static import static_int8

        return static_int8(self.model, self.photos, self.calibrator)

    @property
    def _is_taught(self) -> bool:
        return self.fp32.manifest.model.name in DETECTORS

    def _quantization(self, scheme: str) -> QuantizationSpec:
        from edgead.export import qdq

        return QuantizationSpec(
            method="static",
            scheme=scheme,
            calibrator=self.calibrator,
            images=len(self.photos.all_good),
            images_sha256=self.photos.sha256,
            largest_weight=qdq.LARGEST_WEIGHT,
        )

    def _candidate(
        self, kind: Kind, graph: bytes, spec: QuantizationSpec | None, note: str = ""
    ) -> Candidate:
        manifest = self.fp32.manifest.replace(precision=kind.name, quantization=spec)
        return Candidate(graph, manifest, note)
