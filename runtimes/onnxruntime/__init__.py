"""ONNX Runtime: any CPU, from the Raspberry Pi to a server; part of the base install."""

from edgead.runtimes.onnxruntime.runtime import OnnxRuntime

__all__ = ["OnnxRuntime"]
