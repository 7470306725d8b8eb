"""TensorRT engines: built where they will run, checked against ONNX Runtime, kept or refused."""

from edgead.export.tensorrt.engine import Engine, export_engine
from edgead.export.tensorrt.options import EngineOptions

__all__ = ["Engine", "EngineOptions", "export_engine"]
