"""Writes ONNX files byte by byte, because a device has no onnx package.

Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOAT, UINT8, INT64 = 1, 2, 7
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int64): INT64}
_INT, _INTS = 2, 7  # AttributeProto's types

Sizes = Sequence[int | str]


def model(graph: bytes, opset: int = 17, ir_version: int = 8) -> bytes:
    """ModelProto."""
    return _number(1, ir_version) + _bytes(7, graph) + _bytes(8, _text(1, "") + _number(2, opset))


def graph(
    nodes: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    weights: Sequence[bytes],
) -> bytes:
    """GraphProto."""
    parts = [_bytes(1, node) for node in nodes]
    parts += [_text(2, "graph"), *(_bytes(5, weight) for weight in weights)]
    parts += [_bytes(11, value) for value in inputs]
    parts += [_bytes(12, value) for value in outputs]
    return b"".join(parts)


def node(
    operator: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str = "",
    **attributes: int | Sequence[int],
) -> bytes:
    """NodeProto."""
    parts = [_text(1, value) for value in inputs] + [_text(2, value) for value in outputs]
    parts += [_text(3, name), _text(4, operator)]
    parts += [_bytes(5, _attribute(*item)) for item in attributes.items()]
    return b"".join(parts)


def value(name: str, element: int, sizes: Sizes) -> bytes:
    """ValueInfoProto; a size that is text is a free one."""
    shape = b"".join(_bytes(1, _size(size)) for size in sizes)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, element) + _bytes(2, shape)))


def weight(name: str, array: np.ndarray) -> bytes:
    """TensorProto."""
    sizes = b"".join(_number(1, size) for size in array.shape)
    data = np.ascontiguousarray(array).tobytes()
    return sizes + _number(2, _TYPES[array.dtype]) + _text(8, name) + _bytes(9, data)


def _attribute(name: str, content: int | Sequence[int]) -> bytes:
    if isinstance(content, int):
        return _text(1, name) + _number(3, content) + _number(20, _INT)
    numbers = b"".join(_number(8, one) for one in content)
    return _text(1, name) + numbers + _number(20, _INTS)


def _size(size: int | str) -> bytes:
    return _number(1, size) if isinstance(size, int) else _text(2, size)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
