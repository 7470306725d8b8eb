"""Static INT8: calibrate once, write the graph for two kinds of runtime."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import onnx

from edgead import strict_json
from edgead.calibration import cache
from edgead.calibration.calibrators import Range, calibrator
from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.ranges import channel_maxima, chosen_ranges
from edgead.errors import EdgeadError
from edgead.export import qdq, refit
from edgead.export.equalise import equalisable, equalise
from edgead.export.roles import first_layers
from edgead.export.rounding import round_weights
from edgead.export.streams import equalise_streams, streams
from edgead.strict_json import Source

_METHOD = "5"  # raise it when the steps below change, so that caches are not used any more

FLOAT_FIRST_SCHEME = (
    "Q/DQ, uint8 activations, int8 weights per channel, int32 bias; first convolutions: float"
)

_HEADROOM = 2.0
"""How far beyond the calibration photos the compared features may go before they are clipped: the
defects to be found are not among those photos, and a clipped difference is a lower score."""


@dataclass(frozen=True)
class StaticInt8:
    """The two INT8 graphs of one calibration.

    Attributes:
        onnxruntime: For ONNX Runtime and OpenVINO.
        tensorrt: For TensorRT.
    """

    onnxruntime: onnx.ModelProto
    tensorrt: onnx.ModelProto


def static_int8(
    model: onnx.ModelProto, photos: CalibrationPhotos, method: str = "minmax"
) -> StaticInt8:
    """Make a graph INT8: equalise channels, round weights, measure ranges, fit what follows again.

    Args:
        model: FP32 graph with edgead's contract.
        photos: Held-out good photos.
        method: The calibrator's name.

    Raises:
        EdgeadError: The graph is already INT8, or computes values that are not finite.
        UsageError: There is no such calibrator.
    """
    choose = calibrator(method)
    batches = photos.for_ranges()
    floats = first_layers(model)
    # The graph without the manifest, so that an artifact finds what its run was calibrated with;
    # the pixels, not the files, because they also change with the resize and the defects.
    graph_sha256 = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    key = (graph_sha256, photos.pixels_sha256, _METHOD)

    def prepare() -> bytes:
        after_relus = list(equalisable(model))
        added = [name for stream in streams(model) for name in stream.tensors]
        maxima = channel_maxima(model, [*after_relus, *added], batches)
        even = equalise_streams(equalise(model, maxima), maxima)
        return bytes(round_weights(even, batches, floats).SerializeToString())

    prepared = onnx.load_from_string(cache.remembered("rounded", key, prepare))

    def measure() -> bytes:
        chosen = chosen_ranges(prepared, qdq.calibrated_tensors(prepared, floats), batches, choose)
        for name in qdq.compared_tensors(prepared):
            chosen[name] = Range(_HEADROOM * chosen[name].low, _HEADROOM * chosen[name].high)
        return json.dumps(
            {name: [found.low, found.high] for name, found in chosen.items()}
        ).encode()

    source = Source(
        "the kept ranges of INT8", EdgeadError, f"empty {cache.folder()} and export again"
    )
    stored = strict_json.parse(cache.remembered("ranges", (*key, method), measure), source)
    ends = strict_json.build(dict[str, tuple[float, float]], stored, source)
    ranges = {name: Range(low, high) for name, (low, high) in ends.items()}
    made = (
        qdq.for_onnxruntime(prepared, ranges, floats),
        qdq.for_tensorrt(prepared, ranges, floats),
    )
    return StaticInt8(
        *(
            refit.refit_texture(model, refit.refit_head(model, graph, photos.good), photos.good)
            for graph in made
        )
    )
