"""Round the weights of convolutions so that their outputs, not the weights, stay close.

Rounding each weight to its nearest integer makes errors that add up where the inputs agree: the
48 weights of a first convolution all see the brightness of the photo, and what is left of the sum
looks like a change of the part. Here each weight's rounding error is passed on to the weights not
rounded yet, in the proportion that the inputs' second moments ask for, and the mean of what
remains goes into the bias.

Source: Frantar et al., "GPTQ" (ICLR 2023), algorithm 1, with a convolution's patches as inputs;
bias correction as in Nagel et al. (ICCV 2019), section 4.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.calibration.probe import probe
from edgead.calibration.ranges import Batches
from edgead.export import qdq

Floats = npt.NDArray[np.float32]

_DAMPING = 0.01  # of the mean diagonal, as in the paper
_BLOCK = 128
_PATCHES_A_PHOTO = 600
_PATCHES_IN_ALL = 16_384


def round_weights(model: onnx.ModelProto, photos: Batches) -> onnx.ModelProto:
    """Return the graph with weights that are whole multiples of their INT8 scales.

    The scales go along as tensors of the graph, where :mod:`edgead.export.qdq` finds them.

    Args:
        model: FP32 graph with edgead's contract.
        photos: Calibration photos at the network's input size.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    chosen = set(qdq.convolutions(model))
    nodes = [node for node in changed.graph.node if node.name in chosen]
    for node in nodes:  # one at a time: the patches of all would not fit in memory
        weights = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
        patches = _patches(model, node, photos)
        flat = weights.reshape(len(weights), -1)
        scales = qdq.weight_scales(weights.astype(np.float32)).astype(np.float64)
        rounded = _round_rows(flat, scales, patches)
        tensors[node.input[1]].CopyFrom(
            numpy_helper.from_array(
                rounded.reshape(weights.shape).astype(np.float32), node.input[1]
            )
        )
        changed.graph.initializer.append(
            numpy_helper.from_array(scales.astype(np.float32), qdq.chosen_scales(node.input[1]))
        )
        if len(node.input) > 2:
            bias = numpy_helper.to_array(tensors[node.input[2]]).astype(np.float64)
            bias += (flat - rounded) @ patches.mean(0)
            tensors[node.input[2]].CopyFrom(
                numpy_helper.from_array(bias.astype(np.float32), node.input[2])
            )
    return changed


def _round_rows(
    weights: npt.NDArray[np.float64], scales: npt.NDArray[np.float64], patches: Floats
) -> npt.NDArray[np.float64]:
    """Round ``[outputs, inputs]`` row by row's scale, passing errors on (GPTQ, algorithm 1)."""
    moments = (patches.T @ patches).astype(np.float64) / len(patches)
    damping = _DAMPING * float(np.diag(moments).mean()) + 1e-12
    moments[np.diag_indices_from(moments)] += damping
    inverse = np.linalg.inv(moments)
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = weights.copy()
    rounded: npt.NDArray[np.float64] = np.zeros(left.shape, np.float64)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        errors = np.zeros((len(left), stop - start))
        for column in range(start, stop):
            integers = np.clip(np.rint(left[:, column] / scales), -127, 127)
            rounded[:, column] = integers * scales
            error = (left[:, column] - rounded[:, column]) / upper[column, column]
            left[:, column + 1 : stop] -= np.outer(error, upper[column, column + 1 : stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return rounded


def _patches(model: onnx.ModelProto, node: onnx.NodeProto, photos: Batches) -> Floats:
    """Draw patches that a convolution sees, float32 ``[patches, channels * kernel]``."""
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    rng = np.random.default_rng(0)
    drawn: list[Floats] = []
    for (values,) in probe(model, [node.input[0]], photos):
        values = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(values, kernel, (2, 3))
        windows = windows[:, :, :: stride[0], :: stride[1]]
        count, _, rows, columns = windows.shape[:4]
        places = count * rows * columns
        chosen = rng.choice(places, min(places, _PATCHES_A_PHOTO * count), replace=False)
        photo, rest = np.divmod(chosen, rows * columns)
        row, column = np.divmod(rest, columns)
        drawn.append(windows[photo, :, row, column].reshape(len(chosen), -1))
        if sum(map(len, drawn)) >= _PATCHES_IN_ALL:
            break
    return np.concatenate(drawn)[:_PATCHES_IN_ALL]
