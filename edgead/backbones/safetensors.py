"""Safetensors files, written and read with NumPy alone.

A file is the length of a header (8 bytes, little-endian), the header in JSON (type, shape and
place of each tensor), and the values. The package ``safetensors`` is part of the training install;
a device does not need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.float32]]

_MOST_HEADER = 1 << 20


def packed(arrays: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Return a safetensors file of float32 arrays."""
    header: dict[str, Any] = {}
    body = bytearray()
    for name, values in sorted(arrays.items()):
        start = len(body)
        body += np.ascontiguousarray(values, "<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [start, len(body)],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(body)


def unpacked(data: bytes) -> Arrays:
    """Read a safetensors file of float32 or float16 arrays; counters (int64) are left out.

    Raises:
        ValueError: It is not one, is cut, or has other types.
    """
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MOST_HEADER, len(data) - 8):
        raise ValueError("it is not a safetensors file")
    try:
        header = json.loads(data[8 : 8 + length])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        body = memoryview(data)[8 + length :]
        return {
            name: _array(body, entry) for name, entry in entries.items() if entry["dtype"] != "I64"
        }
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            "it is not a whole safetensors file of float32 or float16 values"
        ) from error


def _array(body: memoryview, entry: Any) -> npt.NDArray[np.float32]:
    start, end = entry["data_offsets"]
    kind = {"F32": "<f4", "F16": "<f2"}.get(entry["dtype"])
    if kind is None or not 0 <= start <= end <= len(body):
        raise ValueError("another type, or beyond the end of the file")
    values = np.frombuffer(body[start:end], kind).reshape(entry["shape"])
    return np.asarray(values, np.float32)
