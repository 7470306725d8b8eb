"""Just enough of the ONNX file format to read and replace metadata without the onnx package.

A device has no onnx package, and creating an inference session only to read the manifest takes
longer than reading the file. An ONNX file is one protobuf message (``ModelProto``); its metadata
are the entries of field 14 (``StringStringEntryProto``: 1 = key, 2 = value). Field numbers are
those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_GRAPH = 7
_METADATA = 14
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_LARGEST_TAG = 2**32 - 1
"""Protobuf drops the bits above, and would see another field than this reader."""

_FLATBUFFERS = (b"ORTM", b"TFL3")
"""At bytes 4 to 8 they make runtimes take the file for another format than ONNX."""

_MOST_FIELDS = 2_000_000
"""Limit of the messages that are read. An exported efficientad-n has 1,432, and so many take a few
seconds."""

_DEEPEST = 100
"""Messages inside one another: protobuf's own limit."""

_DATA_LOCATION, _EXTERNAL_DATA = 14, 13
_TENSOR = "TensorProto"
_MODEL_PARTS = {_GRAPH: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"}
_PARTS = {
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR,
        6: "GraphProto",
        10: _TENSOR,
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
"""Where tensors are: the fields of each kind of message that hold one, or a message with one."""


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX model."""


class Text(NamedTuple):
    """The value of one metadata entry, and where its bytes begin in the file."""

    text: str
    start: int


class _Field(NamedTuple):
    """One field of a message: its number, its kind, and where it lies in the file.

    ``value`` is that of a whole number; the content of other kinds begins at ``content``.
    """

    number: int
    kind: int
    value: int
    start: int
    content: int
    end: int


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the model's metadata; raises as :func:`read_entries`."""
    return {key: value.text for key, value in read_entries(data).items()}


def read_entries(data: bytes) -> dict[str, Text]:
    """Return the model's metadata, with where each value lies.

    Raises:
        NotOnnxError: The bytes end too early, are not an ONNX model, or may be read in two ways.
    """
    if data[4:8] in _FLATBUFFERS:
        raise NotOnnxError("it begins like a file of another format")
    metadata: dict[str, Text] = {}
    graphs = 0
    file = _File(data)
    for field in file.fields():
        if field.kind != _BYTES:
            continue
        if field.number == _GRAPH:
            graphs += 1
        elif field.number == _METADATA:
            key, value = file.entry(field)
            if key in metadata:
                raise NotOnnxError(f"two metadata entries {key[:40]!r}")
            metadata[key] = value
    if graphs != 1:
        raise NotOnnxError("no graph in it" if not graphs else f"{graphs} graphs in it")
    return metadata


def with_metadata(data: bytes, key: str, value: str) -> bytes:
    """Return the model with one metadata entry set, replacing an earlier one of that key."""
    file = _File(data)
    kept = [
        data[field.start : field.end]
        for field in file.fields()
        if not (field.number == _METADATA and field.kind == _BYTES and file.entry(field)[0] == key)
    ]
    entry = tagged(_KEY, key.encode()) + tagged(_VALUE, value.encode())
    return b"".join(kept) + tagged(_METADATA, entry)


def has_external_data(data: bytes) -> bool:
    """Whether a tensor of the model lies in another file, wherever in the model it is.

    Raises:
        NotOnnxError: The bytes end too early, or messages are too many or too deep.
    """
    file = _File(data)
    waiting = [
        (field.content, field.end, _MODEL_PARTS[field.number], 1)
        for field in file.fields()
        if field.number in _MODEL_PARTS and field.kind == _BYTES
    ]
    while waiting:
        start, end, message, depth = waiting.pop()
        if depth > _DEEPEST:
            raise NotOnnxError(f"more than {_DEEPEST} messages inside one another")
        parts = _PARTS[message]
        is_tensor = message == _TENSOR
        for number, kind, value, _, content, stop in file.fields(start, end):
            if kind == _BYTES and number in parts:
                waiting.append((content, stop, parts[number], depth + 1))
            elif is_tensor and (
                (number == _DATA_LOCATION and kind == _VARINT and value)
                or (number == _EXTERNAL_DATA and kind == _BYTES)
            ):
                return True
    return False


def fields(data: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Yield (field number, content of a length-delimited field, the field's raw bytes)."""
    for field in _File(data).fields():
        content = data[field.content : field.end] if field.kind == _BYTES else None
        yield field.number, content, data[field.start : field.end]


class _File:
    """A file's bytes, of which no more than so many fields are looked at."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_FIELDS

    def fields(self, start: int = 0, end: int | None = None) -> Iterator[_Field]:
        """Yield the fields of the message in ``data[start:end]``; a graph's bytes stay uncopied."""
        data = self._data
        position, end = start, len(data) if end is None else end
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise NotOnnxError(f"more than {_MOST_FIELDS:,} fields")
            begin = position
            tag, position = _varint(data, position, end)
            number, kind = tag >> 3, tag & 7
            if number == 0 or tag > _LARGEST_TAG:
                raise NotOnnxError("a field without a valid number")
            value, content = 0, position
            if kind == _VARINT:
                value, position = _varint(data, position, end)
            elif kind == _BYTES:
                length, content = _varint(data, position, end)
                position = content + length
            elif kind in (_FIXED64, _FIXED32):
                position += 8 if kind == _FIXED64 else 4
            else:
                raise NotOnnxError(f"a field of unknown kind {kind}")
            if position > end:
                raise NotOnnxError("its end is missing")
            yield _Field(number, kind, value, begin, content, position)

    def entry(self, message: _Field) -> tuple[str, Text]:
        """Return a metadata entry's key and value."""
        parts = {_KEY: Text("", message.end), _VALUE: Text("", message.end)}
        for field in self.fields(message.content, message.end):
            if field.number in parts and field.kind == _BYTES:
                try:
                    text = str(self._data[field.content : field.end], "utf-8")
                except UnicodeDecodeError as error:
                    raise NotOnnxError("metadata that is not text") from error
                parts[field.number] = Text(text, field.content)
        return parts[_KEY].text, parts[_VALUE]


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= end:
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
    """Return a length-delimited field."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content
