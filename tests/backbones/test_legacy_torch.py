"""The reader of legacy PyTorch files: the tensors that torch reads, and nothing else."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from edgead.backbones import legacy_torch

MAGIC = 0x1950A86A20F9469CFC6C
FACTS = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


def legacy(body: bytes, storages: bytes = b"", facts: object = FACTS) -> bytes:
    """A file with a pickle of its own in the place of the state dict."""
    header = b"".join(pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, facts))
    return header + body + (storages or pickle.dumps([], protocol=2))


def saved(tensors: object) -> bytes:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    stream = io.BytesIO()
    torch.save(tensors, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


@pytest.fixture
def state() -> OrderedDict[str, object]:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    rows = torch.arange(24, dtype=torch.float32)
    return OrderedDict(
        plain=rows.view(2, 3, 4).clone(),
        transposed=rows.view(4, 6).clone().t(),
        part=rows.clone()[4:10],
        counter=torch.tensor(7),
    )


def test_it_reads_what_torch_saved(state: OrderedDict[str, object]) -> None:
    found = legacy_torch.read(saved(state))
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.numpy())  # type: ignore[attr-defined]
        assert found[name].flags.c_contiguous
    assert found["transposed"].strides != state["transposed"].numpy().strides  # type: ignore[attr-defined]


def test_tensors_may_share_their_values() -> None:
    torch = pytest.importorskip("torch", reason="a device has no torch")
    rows = torch.arange(6, dtype=torch.float32)
    found = legacy_torch.read(saved({"all": rows, "end": rows[3:]}))
    np.testing.assert_array_equal(found["end"], [3, 4, 5])


def test_nothing_is_executed(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    with pytest.raises(legacy_torch.NotTensorsError, match="mkdir"):
        legacy_torch.read(legacy(pickle.dumps({"a": Harm()}, protocol=2)))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "no dictionary"),
        ({"a": 1}, "something else"),
        ({"a": 1.5}, "something else"),
        ({1: "a"}, "something else"),
        ({"a": {1, 2}}, "set"),
        ({"a": b"bytes"}, "_codecs"),
    ],
)
def test_other_objects_are_refused(value: object, reason: str) -> None:
    with pytest.raises(legacy_torch.NotTensorsError, match=reason):
        legacy_torch.read(legacy(pickle.dumps(value, protocol=2)))


def test_other_beginnings_are_refused() -> None:
    for data in (b"", b"PK\x03\x04", b"\x80\x02}q\x00.", legacy(b"", facts={}), bytes(100)):
        with pytest.raises(legacy_torch.NotTensorsError):
            legacy_torch.read(data)


def test_a_damaged_file_is_refused_or_read(state: OrderedDict[str, object]) -> None:
    """Any cut is noticed; a changed byte is noticed, or changes a value and nothing else."""
    whole = saved(state)
    for end in range(0, len(whole), 3):
        with pytest.raises(legacy_torch.NotTensorsError):
            legacy_torch.read(whole[:end])
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        try:
            found = legacy_torch.read(bytes(changed))
        except legacy_torch.NotTensorsError:
            continue
        assert sum(values.nbytes for values in found.values()) <= 4 * len(whole)


def test_a_tensor_beyond_its_values_is_refused(state: OrderedDict[str, object]) -> None:
    whole = saved(OrderedDict(a=state["plain"]))
    sizes = b"K\x02K\x03K\x04"  # the shape: three small numbers
    assert whole.count(sizes) == 1
    with pytest.raises(legacy_torch.NotTensorsError, match="beyond its storage"):
        legacy_torch.read(whole.replace(sizes, b"K\x02K\x03K\x05"))


def test_strides_of_nothing_do_not_allocate(state: OrderedDict[str, object]) -> None:
    whole = saved(OrderedDict(a=state["part"]))
    shape = b"K\x06\x85"  # (6,)
    assert whole.count(shape) == 1
    huge = b"J" + struct.pack("<i", 2**27) + b"\x85"
    with pytest.raises(legacy_torch.NotTensorsError, match="beyond its storage"):
        legacy_torch.read(whole.replace(shape, huge))
