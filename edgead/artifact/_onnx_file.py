"""Just enough of the ONNX file format to read and replace metadata without the onnx package.

A device has no onnx package, and creating an inference session only to read the manifest takes
longer than reading the file. An ONNX file is one protobuf message (``ModelProto``); its metadata
are the entries of field 14 (``StringStringEntryProto``: 1 = key, 2 = value).
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH = 7
_METADATA = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX model."""


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the model's metadata.

    Raises:
        NotOnnxError: The bytes end too early or are not an ONNX model.
    """
    metadata: dict[str, str] = {}
    has_graph = False
    for number, value, _ in _views(data):
        if number == _GRAPH:
            has_graph = True
        elif number == _METADATA and value is not None:
            key, text = _entry(value)
            metadata[key] = text
    if not has_graph:
        raise NotOnnxError("no graph in it")
    return metadata


def with_metadata(data: bytes, key: str, value: str) -> bytes:
    """Return the model with one metadata entry set, replacing an earlier one of that key."""
    kept = [
        raw
        for number, content, raw in _views(data)
        if not (number == _METADATA and content is not None and _entry(content)[0] == key)
    ]
    entry = tagged(1, key.encode()) + tagged(2, value.encode())
    return b"".join(kept) + tagged(_METADATA, entry)


def _entry(value: memoryview) -> tuple[str, str]:
    parts = {number: content for number, content, _ in _views(value) if content is not None}
    try:
        return str(parts.get(1, b""), "utf-8"), str(parts.get(2, b""), "utf-8")
    except UnicodeDecodeError as error:
        raise NotOnnxError("metadata that is not text") from error


def fields(data: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Yield (field number, content of a length-delimited field, the field's raw bytes)."""
    for number, content, raw in _views(data):
        yield number, None if content is None else bytes(content), bytes(raw)


def _views(
    message: bytes | memoryview,
) -> Iterator[tuple[int, memoryview | None, memoryview]]:
    """Yield what :func:`fields` does, uncopied: a graph is one field of many megabytes."""
    data = memoryview(message)
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        content = None
        if number == 0:
            raise NotOnnxError("a field without a number")
        if wire_type == _VARINT:
            _, position = _varint(data, position)
        elif wire_type == _BYTES:
            length, position = _varint(data, position)
            content = data[position : position + length]
            position += length
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise NotOnnxError(f"a field of unknown kind {wire_type}")
        if position > len(data):
            raise NotOnnxError("its end is missing")
        yield number, content, data[start:position]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise NotOnnxError("its end is missing")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise NotOnnxError("a number that is too long")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tagged(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content
