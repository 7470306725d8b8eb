"""Safetensors files with a checksum inside.

The format itself has none, so flipped bits pass as weights. A file that is renamed into place is
whole by itself, so its checksum is in it and not beside it: the SHA-256 of all its bytes, with
zeros where it stands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "sha256"
_EMPTY = "0" * 64


@dataclass(frozen=True)
class TensorFile:
    """What a safetensors file holds.

    Attributes:
        tensors: By name.
        metadata: Text by name, without the checksum.
        is_sealed: Whether the file carries a checksum; it fits then.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    is_sealed: bool


def packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with a checksum in its metadata."""
    from safetensors.torch import save

    data = save(dict(tensors), {**metadata, _KEY: _EMPTY})
    return data.replace(_entry(_EMPTY), _entry(hashlib.sha256(data).hexdigest()), 1)


def unpacked(data: bytes) -> TensorFile:
    """Read a safetensors file, with a checksum or without.

    Raises:
        ValueError: It is not one, is cut, or does not fit its checksum; says which.
    """
    from safetensors.torch import load

    length = int.from_bytes(data[:8], "little")
    try:
        metadata = dict(json.loads(data[8 : 8 + length]).get("__metadata__") or {})
        stated = metadata.pop(_KEY, None)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError("it is not a safetensors file") from error
    if stated is not None:
        before, found, after = data.partition(_entry(str(stated)))
        if not found or hashlib.sha256(before + _entry(_EMPTY) + after).hexdigest() != stated:
            raise ValueError("it does not match its checksum")
    try:
        tensors = load(data)
    except Exception as error:  # of many kinds: the header may be any JSON
        raise ValueError(f"it is not a whole safetensors file ({error})") from error
    return TensorFile(tensors, metadata, stated is not None)


def _entry(digest: str) -> bytes:
    return f'"{_KEY}":"{digest}"'.encode(errors="replace")
