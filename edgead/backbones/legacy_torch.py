"""Tensors of a file that ``torch.save`` wrote, read without torch and without a pickle.

An old file is four pickles (a magic number, a version, facts about the machine, the object), a
pickled list of storage keys, and then for each key a count and the raw little-endian values. The
standard library's unpickler calls whatever a file names. Here :func:`pickletools.genops` only
splits the bytes into operations, and a small machine carries out the few that a state dict needs.
It knows tensors, text, numbers and containers; everything else is refused.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]

MOST_BYTES = 1 << 29
"""Largest file that is read, 512 MiB: a WideResNet-50-2 in float32 has 276 MB."""

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_STEPS = 1_000_000
_MOST_TENSORS = 10_000
_MOST_DIMENSIONS = 8
_ORDERED_DICT = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_STORAGES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
}
_ALLOWED = {_ORDERED_DICT, _REBUILD, _PARAMETER, *_STORAGES}
_OF_ZIPFILE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)
_IGNORED = {"PROTO", "FRAME"}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUT, _GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
_MARK = object()


class NotTensorsError(ValueError):
    """The bytes are not a legacy file that holds tensors and nothing else; says why."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(data: bytes) -> Tensors:
    """Take the tensors out of a legacy PyTorch file.

    Args:
        data: The file.

    Returns:
        Copies of the tensors by name, float16, float32 or int64, contiguous.

    Raises:
        NotTensorsError: The bytes are damaged, or hold anything else than tensors by name.
    """
    if len(data) > MOST_BYTES:
        _refuse(f"it has {len(data):,} bytes (limit: {MOST_BYTES:,})")
    stream = io.BytesIO(data)
    if _Machine().run(stream) != _MAGIC or _Machine().run(stream) != _PROTOCOL:
        _refuse("it does not begin as a legacy PyTorch file does")
    facts = _Machine().run(stream)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        _refuse("its values are not little-endian")
    named, keys = _tensors_in(_Machine().run(stream)), _Machine().run(stream)
    if not isinstance(keys, list) or len(keys) > _MOST_TENSORS:
        _refuse("it holds no dictionary of tensors")
    values = _storages(
        data, stream.tell(), keys, {t.storage.key: t.storage for t in named.values()}
    )
    return {name: _strided(values, tensor, name) for name, tensor in named.items()}


def read_zip(data: bytes) -> Tensors:
    """Take the tensors out of a file that ``torch.save`` writes today.

    It is a zip archive with one pickle, ``data.pkl``, and a file of raw values for each storage.
    Arguments, result and errors as those of :func:`read`.
    """
    if len(data) > MOST_BYTES:
        _refuse(f"it has {len(data):,} bytes (limit: {MOST_BYTES:,})")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > len(data):
                _refuse("it is compressed, which torch does not do")
            root = next((e.filename for e in entries if e.filename.endswith("/data.pkl")), None)
            if root is None:
                _refuse("it is a zip archive without data.pkl")
            folder = root.removesuffix("data.pkl")
            names = {entry.filename for entry in entries}
            order = f"{folder}byteorder"
            if order in names and archive.read(order) != b"little":
                _refuse("its values are not little-endian")
            named = _tensors_in(_Machine().run(io.BytesIO(archive.read(root))))
            values = {}
            for storage in {tensor.storage for tensor in named.values()}:
                name = f"{folder}data/{storage.key}"
                content = archive.read(name) if name in names else b""
                if len(content) != storage.count * storage.dtype.itemsize:
                    _refuse("it is cut, or a storage has another size than its tensors say")
                values[storage.key] = np.frombuffer(content, storage.dtype)
    except NotTensorsError:
        raise
    except (*_OF_ZIPFILE, OSError, RuntimeError, ValueError, LookupError, EOFError) as error:
        raise NotTensorsError("it is a damaged zip archive") from error
    return {name: _strided(values, tensor, name) for name, tensor in named.items()}


def _tensors_in(named: Any) -> dict[str, _Tensor]:
    if not isinstance(named, dict):
        _refuse("it holds no dictionary of tensors")
    for name, value in named.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            _refuse("it holds something else than tensors by name")
    if len(named) > _MOST_TENSORS:
        _refuse(f"it has {len(named):,} tensors (limit: {_MOST_TENSORS:,})")
    return named


def _storages(
    data: bytes, start: int, keys: list[Any], known: dict[str, _Storage]
) -> dict[str, npt.NDArray[Any]]:
    """Read the values of every storage; ``data[start:]`` is a count and values for each key."""
    values = {}
    for key in keys:
        storage = known.get(key) if isinstance(key, str) else None
        if storage is None or key in values:
            _refuse("its list of storages does not fit its tensors")
        count = int.from_bytes(data[start : start + 8], "little", signed=True)
        end = start + 8 + count * storage.dtype.itemsize
        if count != storage.count or not start < end <= len(data):
            _refuse("it is cut, or a storage has another size than its tensors say")
        values[key] = np.frombuffer(data, storage.dtype, count, start + 8)
        start = end
    if values.keys() != known.keys() or start != len(data):
        _refuse("its list of storages does not fit its tensors")
    return values


def _strided(values: dict[str, npt.NDArray[Any]], tensor: _Tensor, name: str) -> npt.NDArray[Any]:
    """Return a tensor's values in C order, whatever order they were stored in."""
    flat = values[tensor.storage.key]
    reach = sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    size = int(np.prod(tensor.shape, dtype=np.int64))
    # Strides of 0 would make a huge tensor of a few values.
    if size > len(flat) or (size and tensor.offset + reach >= len(flat)):
        _refuse(f"the tensor {name[:80]!r} reaches beyond its storage")
    steps = [step * flat.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps)
    return np.asarray(view.copy("C"))


class _Machine:
    """A stack machine for the pickle of a state dict; it makes no object but those above."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """Carry out one pickle and return what it holds; the stream stands behind it then."""
        try:
            for steps, (code, argument, _) in enumerate(pickletools.genops(stream)):
                if steps > _MOST_STEPS:
                    _refuse(f"it has more than {_MOST_STEPS:,} operations")
                if code.name == "STOP":
                    return self._stack.pop()
                self._step(code.name, argument)
        except NotTensorsError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise NotTensorsError("it is damaged or no PyTorch file") from error
        return _refuse("it is cut")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PUT:
            self._memo[argument] = stack[-1]
        elif name in _GET:
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name == "APPENDS":
            entries = self._since_mark()
            _list(stack[-1]).extend(entries)
        elif name == "APPEND":
            entry = stack.pop()
            _list(stack[-1]).append(entry)
        elif name in ("SETITEM", "SETITEMS"):
            entries = self._since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _dict(stack[-1]).update(zip(entries[::2], entries[1::2], strict=True))
        elif name == "GLOBAL":
            if argument not in _ALLOWED:
                _refuse(f"it names {argument[:80]!r}, which is no tensor")
            stack.append(_Global(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_made(stack.pop(), arguments))
        elif name == "BUILD":  # a state dict's versions of its modules, which nothing here needs
            _dict(stack[-2])
            _dict(stack.pop())
        elif name not in _IGNORED:
            _refuse(f"it has the operation {name}, which tensors do not need")

    def _since_mark(self) -> list[Any]:
        start = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        entries = self._stack[start + 1 :]
        del self._stack[start:]
        return entries


def _made(what: Any, arguments: Any) -> Any:
    if what == _Global(_ORDERED_DICT) and arguments == ():
        return {}
    if what == _Global(_PARAMETER) and isinstance(arguments, tuple) and len(arguments) == 3:
        return arguments[0]  # anything else than a tensor is refused where it is used
    if what == _Global(_REBUILD) and isinstance(arguments, tuple) and len(arguments) == 6:
        storage, offset, shape, strides = arguments[:4]
        if (
            isinstance(storage, _Storage)
            and _is_count(offset)
            and isinstance(shape, tuple)
            and isinstance(strides, tuple)
            and len(shape) == len(strides) <= _MOST_DIMENSIONS
            and all(map(_is_count, (*shape, *strides)))
        ):
            return _Tensor(storage, offset, shape, strides)
    return _refuse("it makes something else than tensors")


def _storage(entry: Any) -> _Storage:
    if isinstance(entry, tuple) and len(entry) in (5, 6):  # with a view in the old format
        kind, found, key, _, count, view = (*entry, None)[:6]
        known = isinstance(found, _Global) and found.name in _STORAGES
        if kind == "storage" and known and isinstance(key, str) and _is_count(count) and not view:
            return _Storage(key, _STORAGES[found.name], count)
    return _refuse("it refers to something else than the values of a tensor")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_BYTES


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else _refuse("it changes something else than a dict")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else _refuse("it changes something else than a list")


def _refuse(why: str) -> NoReturn:
    raise NotTensorsError(why)
