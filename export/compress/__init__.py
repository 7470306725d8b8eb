"""Fewer operations from a trained detector, in closed form, on its FP32 graph.

    observe → choices → path of plans → carry out (project, prune, factorise, fit) → gate

Needs onnx and NumPy, not torch. docs/notes/compression-method.md has the derivation.
"""
