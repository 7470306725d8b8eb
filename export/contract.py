"""What every graph of edgead has: its inputs and outputs, and networks of convolutions."""

from __future__ import annotations

from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgead.artifact import Manifest
from edgead.errors import ArtifactError
from edgead.export.roles import is_head, photo_casts

Described = dict[str, tuple[str, list[int | str]]]
"""Type and shape of each input and output, by name."""


def expected(size: tuple[int, int], cells: tuple[int, int]) -> Described:
    """Return the inputs and outputs that a graph must have.

    Args:
        size: The network's input ``(height, width)``.
        cells: The map's ``(height, width)``.
    """
    return {
        "image": ("UINT8", ["batch", *size, 3]),
        "anomaly_map": ("FLOAT", ["batch", *cells]),
        "score": ("FLOAT", ["batch"]),
    }


def found(model: onnx.ModelProto) -> Described:
    """Return the inputs and outputs that a graph has."""
    return {value.name: _described(value) for value in [*model.graph.input, *model.graph.output]}


def read_graph(data: bytes, manifest: Manifest, name: str) -> onnx.ModelProto:
    """Parse the graph of an artifact, and check that it is one to make other files of.

    Its seal says that it was not damaged, and not who wrote it.

    Args:
        data: The ONNX file.
        manifest: The artifact's.
        name: What errors call the file.

    Raises:
        ArtifactError: It is no valid ONNX, has other inputs and outputs, or no convolutions as
            edgead writes them.
    """
    again = "it was not written by edgead; export the run folder again"
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
    except (
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"the graph of {name} is not valid ONNX ({reason}): {again}") from error
    cells = manifest.map.height, manifest.map.width
    if found(model) != expected(manifest.input.size, cells):
        raise ArtifactError(
            f"the graph of {name} has inputs and outputs {found(model)}, but its manifest says "
            f"{expected(manifest.input.size, cells)}: {again}"
        )
    fault = fault_of_graph(model)
    if fault:
        raise ArtifactError(f"the graph of {name} has {fault}: {again}")
    return model


def fault_of_graph(model: onnx.ModelProto) -> str | None:
    """Say what keeps other precisions from being made of a graph; ``None`` for nothing.

    The photo becomes floats at one place. INT8 and compression find convolutions by name, with
    their weights, outside of the head.
    """
    casts = len(photo_casts(model.graph))
    if casts != 1:
        return f"{casts} casts of the photo to float in place of one"
    weights = {tensor.name for tensor in model.graph.initializer}
    found = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    if all(is_head(node) for node in found):
        return "no convolution"
    if any(node.input[1] not in weights for node in found):
        return "a convolution whose weights are computed"
    if len({node.input[1] for node in found}) < len(found):
        return "convolutions that share their weights"
    if len({node.name for node in found} - {""}) < len(found):
        return "convolutions without names of their own"
    return None


def _described(value: Any) -> tuple[str, list[int | str]]:
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    return kind, [axis.dim_param or axis.dim_value for axis in tensor.shape.dim]
