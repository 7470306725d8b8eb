"""INT8 graphs with QuantizeLinear/DequantizeLinear pairs, in the two shapes that runtimes want.

One graph cannot serve both worlds. ONNX Runtime and OpenVINO run INT8 convolutions where every
activation is quantized (UINT8, with a zero point) and the bias is INT32. TensorRT refuses both
and wants symmetric INT8 on the inputs of convolutions only, with a float bias.

Both shapes come from the same ranges. The head (map normalisation and score) stays FP32, and so do
the activations of an autoencoder.
"""

from edgead.export.qdq.scales import LARGEST_WEIGHT, chosen_scales, weight_scales
from edgead.export.qdq.writers import (
    ONNXRUNTIME_SCHEME,
    TENSORRT_SCHEME,
    calibrated_tensors,
    compared_tensors,
    for_onnxruntime,
    for_tensorrt,
)

__all__ = [
    "LARGEST_WEIGHT",
    "ONNXRUNTIME_SCHEME",
    "TENSORRT_SCHEME",
    "calibrated_tensors",
    "chosen_scales",
    "compared_tensors",
    "for_onnxruntime",
    "for_tensorrt",
    "weight_scales",
]
