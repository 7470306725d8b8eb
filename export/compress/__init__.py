"""Fewer operations from a trained detector, in closed form, on its FP32 graph.

    observe → choices → path of plans → carry out (project, prune, factorise, fit) → gate

Needs onnx and NumPy, not torch. docs/compression.md has the derivation and what was measured.
"""

from edgead.export.compress.compressor import Compressed, Compressor
from edgead.export.compress.search import AUTO, Rung, Search

__all__ = ["AUTO", "Compressed", "Compressor", "Rung", "Search"]
