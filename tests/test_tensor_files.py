from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save

from edgead.tensor_files import packed, unpacked

TENSORS = {"weight": torch.arange(12, dtype=torch.float32).reshape(3, 4), "sha256": torch.ones(2)}


def test_what_is_packed_comes_back() -> None:
    found = unpacked(packed(TENSORS, {"step": "3"}))
    assert found.is_sealed
    assert found.metadata == {"step": "3"}
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


def test_every_flipped_bit_is_found() -> None:
    whole = packed(TENSORS, {"step": "3"})
    for position in range(len(whole)):
        for bit in (0, 5):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            try:
                found = unpacked(bytes(data))
            except ValueError:
                continue
            # The name of the checksum itself: then it is a file that carries none.
            assert not found.is_sealed
            assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


def test_cut_and_foreign_files_are_refused() -> None:
    whole = packed(TENSORS, {})
    header = json.dumps({"__metadata__": ["no", "object"]}).encode()
    for data in (
        b"",
        b"no tensors",
        whole[:-1],
        whole[:100],
        whole + b"\0",
        b"\xff" * 64,
        len(header).to_bytes(8, "little") + header,
        len(b"[1]").to_bytes(8, "little") + b"[1]",
    ):
        with pytest.raises(ValueError, match="it "):
            unpacked(data)


def test_files_without_a_checksum_are_read() -> None:
    found = unpacked(save(TENSORS, {"name": "mine"}))
    assert not found.is_sealed
    assert found.metadata == {"name": "mine"}
