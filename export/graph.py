"""From the trained detector in torch to an ONNX graph with edgead's contract."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgead.errors import EdgeadError, MissingDependencyError

if TYPE_CHECKING:
    from edgead.models import AnomalyModel

OPSET = 17
"""The newest one that TensorRT 8.5 (JetPack 5) reads."""
IR = 8
"""The file format that came with that opset: ONNX Runtime 1.17 reads 9 at most."""


def to_onnx(model: AnomalyModel) -> bytes:
    """Export a trained detector.

    Args:
        model: A finished detector on the CPU.

    Returns:
        A serialised ONNX model: input ``image`` uint8 ``[batch, H, W, 3]`` BGR, outputs
        ``anomaly_map`` float32 ``[batch, h, w]`` and ``score`` float32 ``[batch]``. Nodes with
        weights are named after their place in the detector (``teacher/layers.0``).

    Raises:
        MissingDependencyError: torch's exporter needs onnx and onnxscript.
        EdgeadError: torch cannot export the graph, or it breaks the contract.
    """
    import torch

    try:
        import onnx
        import onnxscript  # noqa: F401  (torch imports it while exporting)
    except ImportError as error:
        raise MissingDependencyError("ONNX export", error.name or "onnx", "train") from error
    height, width = model.image_size
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model.deployable(),
                (example,),
                input_names=["image"],
                output_names=["anomaly_map", "score"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        what = str(cause).strip().partition("\n")[0]
        raise EdgeadError(
            f"torch cannot export the graph of {model.name} ({type(cause).__name__}: {what}): this "
            "is a defect in the detector's deployable()"
        ) from error
    if program is None:
        raise EdgeadError(
            f"torch {torch.__version__} exported no graph: install the torch version of the "
            "project's constraints.txt"
        )
    proto = program.model_proto
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    if versions != {"": OPSET}:
        raise EdgeadError(
            f"the graph of {model.name} needs the operator sets {versions}, but devices have "
            f"{OPSET}: a detector of your own uses an operator that is newer (such as mean over "
            f"given axes); for a detector of edgead, install the torch of the project's "
            f"constraints.txt (this is {torch.__version__})"
        )
    _name_nodes(proto)
    _scale_resizes(proto)
    _trim_kernels(proto)
    _as_format(proto)
    onnx.checker.check_model(proto, full_check=True)
    _check_contract(proto, model)
    return bytes(proto.SerializeToString())


def _name_nodes(proto: Any) -> None:
    """Name each node with weights after them; the exporter's own names are only numbers."""
    weights = {initializer.name for initializer in proto.graph.initializer}
    for node in proto.graph.node:
        place = next(
            (name for name in node.input if name in weights and name.endswith(".weight")), None
        )
        if place is not None:
            node.name = place.removesuffix(".weight").replace(".", "/", 1)


def _scale_resizes(proto: Any) -> None:
    """Give each Resize constant scales in place of a size computed from its input's shape.

    The exporter writes the latter for the sake of the batch. Reading the shape of an activation
    keeps runtimes from running it as INT8.
    """
    import numpy as np
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto).graph
    sides = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim[2:]]
        for value in [*graph.value_info, *graph.output]
    }
    for node in proto.graph.node:
        if node.op_type != "Resize" or len(node.input) < 4:
            continue
        before, after = sides[node.input[0]], sides[node.output[0]]
        scales = [np.float32(new / old) for old, new in zip(before, after, strict=True)]
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            # The product is rounded down, and runtimes take it in different precisions.
            while int(float(old) * float(scales[index])) < new:
                scales[index] = np.nextafter(scales[index], np.float32(np.inf))
        name = f"{node.name}.scales"
        values = np.array([1, 1, *scales], np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        inputs = [node.input[0], "", name]
        del node.input[:]
        node.input.extend(inputs)
    while True:
        read = {name for node in proto.graph.node for name in node.input}
        read |= {value.name for value in proto.graph.output}
        unread = [node for node in proto.graph.node if not read & set(node.output)]
        if not unread:
            break
        for node in unread:
            proto.graph.node.remove(node)
    for tensor in [t for t in proto.graph.initializer if t.name not in read]:
        proto.graph.initializer.remove(tensor)


def _trim_kernels(proto: Any) -> None:
    """Take rows and columns of zeros off the beginning of kernels, and the padding for them.

    A convolution that pads more below and on the right is written so in torch, which pads evenly
    (``networks/efficientnet_lite.py``).
    """
    import onnx

    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    trimmed: set[str] = set()
    for node in proto.graph.node:
        attributes = {entry.name: entry for entry in node.attribute}
        if node.op_type != "Conv" or "pads" not in attributes:
            continue
        before = pads = list(attributes["pads"].ints)
        weights = onnx.numpy_helper.to_array(tensors[node.input[1]])
        while min(pads) > 0 and not weights[:, :, 0].any() and not weights[:, :, :, 0].any():
            weights, pads = weights[:, :, 1:, 1:], [pads[0] - 1, pads[1] - 1, *pads[2:]]
        if pads == before:
            continue
        for name, values in (("pads", pads), ("kernel_shape", weights.shape[2:])):
            attributes[name].CopyFrom(onnx.helper.make_attribute(name, values))
        tensors[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(weights.copy(), node.input[1]))
        trimmed.add(node.input[1])
    for value in [value for value in proto.graph.value_info if value.name in trimmed]:
        proto.graph.value_info.remove(value)  # the shape of before


def _as_format(proto: Any) -> None:
    """Write the format of :data:`IR`, without the notes that only newer ones have."""
    proto.ir_version = IR
    graph = proto.graph
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del noted.metadata_props[:]


def _check_contract(proto: Any, model: AnomalyModel) -> None:
    from edgead.export import contract

    spec = model.map_spec
    expected = contract.expected(model.image_size, (spec.height, spec.width))
    found = contract.found(proto)
    if found != expected:
        raise EdgeadError(
            f"the exported graph of {model.name} has inputs and outputs {found}, but must have "
            f"{expected}: this is a defect in the detector's deployable()"
        )
    fault = contract.fault_of_graph(proto)
    if fault is not None:
        raise EdgeadError(
            f"the exported graph of {model.name} has {fault}, and INT8, FP16 and compression rest "
            "on it: this is a defect in the detector's deployable()"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress lines and deprecation notes off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with (
        open(os.devnull, "w") as nowhere,  # noqa: PTH123
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
