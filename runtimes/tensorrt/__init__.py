"""TensorRT: NVIDIA GPUs, Jetson first; runs engines that ``edgead export --tensorrt`` built."""

from edgead.runtimes.tensorrt.runtime import TensorRT

__all__ = ["TensorRT"]
