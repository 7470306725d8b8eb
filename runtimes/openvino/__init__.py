"""OpenVINO: x86 CPUs, where it runs INT8 faster than ONNX Runtime; optional."""

from edgead.runtimes.openvino.runtime import OpenVinoRuntime

__all__ = ["OpenVinoRuntime"]
