"""Mutations of bytes, JSON texts and protobuf messages; each a function of its random generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgead.artifact import _onnx_file

Rng = np.random.Generator
Path = tuple[Any, ...]


def pick(rng: Rng, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


# Bytes


def mutate_bytes(rng: Rng, data: bytes, other: bytes = b"", head: int | None = None) -> bytes:
    """Damage a file's content; the result differs from it.

    Args:
        rng: Decides everything.
        data: At least one byte.
        other: A file to splice from; ``data`` where it is empty.
        head: Half of the positions lie in so many bytes at the start, where headers are.
    """
    mutated = data
    while mutated == data:
        for _ in range(int(rng.geometric(0.5))):
            position = _position(rng, mutated, head)
            mutated = pick(rng, _BYTE_MUTATIONS)(rng, mutated, position, other or data)
            mutated = mutated or data[:1]
    return mutated


def _position(rng: Rng, data: bytes, head: int | None) -> int:
    end = len(data) if head is None or rng.random() < 0.5 else min(head, len(data))
    return int(rng.integers(max(end, 1)))


def _length(rng: Rng) -> int:
    return int(2 ** rng.uniform(0, 12))


def _flip(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    return _put(data, at, bytes([data[at] ^ (1 << int(rng.integers(8)))]))


def _set(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    return _put(data, at, bytes([pick(rng, (0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))))]))


def _number(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    """Write a number on the edge of its type, where a length or a size may stand."""
    size = pick(rng, (2, 4, 8))
    value = pick(rng, (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 65535, 20000))
    return _put(data, at, (value % 2 ** (8 * size)).to_bytes(size, pick(rng, ("little", "big"))))


def _cut(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    return data[:at]


def _remove(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    return data[:at] + data[at + _length(rng) :]


def _insert(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    return data[:at] + rng.bytes(_length(rng)) + data[at:]


def _repeat(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    end = at + _length(rng)
    return data[:end] + data[at:end] + data[end:]


def _blank(rng: Rng, data: bytes, at: int, _: bytes) -> bytes:
    length = min(_length(rng), len(data) - at)
    return _put(data, at, bytes([pick(rng, (0, 0xFF))]) * length)


def _splice(rng: Rng, data: bytes, at: int, other: bytes) -> bytes:
    start = int(rng.integers(len(other)))
    return _put(data, at, other[start : start + _length(rng)])


def _graft(rng: Rng, data: bytes, at: int, other: bytes) -> bytes:
    return data[:at] + other[int(rng.integers(len(other))) :]


def _put(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at + len(part) :]


_BYTE_MUTATIONS: tuple[Callable[[Rng, bytes, int, bytes], bytes], ...] = (
    _flip,
    _flip,
    _flip,
    _set,
    _number,
    _cut,
    _remove,
    _insert,
    _repeat,
    _blank,
    _splice,
    _graft,
)


# Protobuf messages


def mutate_protobuf(rng: Rng, data: bytes, other: bytes = b"") -> bytes:
    """Change fields of a message, or of one inside it, and write all lengths anew."""
    mutated = data
    while mutated == data:
        mutated = _mutate_message(rng, data, other or data)
    return mutated


def _mutate_message(rng: Rng, data: bytes, other: bytes) -> bytes:
    found = list(_onnx_file.fields(data))
    inner = [index for index, (_, content, _) in enumerate(found) if content]
    if inner and rng.random() < 0.6:
        index = pick(rng, inner)
        number, content, _ = found[index]
        assert content is not None
        try:
            content = _mutate_message(rng, content, other)
        except (ValueError, IndexError):  # text or weights, no message
            content = mutate_bytes(rng, content, other)
        found[index] = (number, content, _onnx_file.tagged(number, content))
        return b"".join(raw for _, _, raw in found)
    raws = [raw for _, _, raw in found]
    at = int(rng.integers(len(raws)))
    what = pick(rng, ("drop", "twice", "swap", "foreign", "renumber", "varint", "length", "append"))
    if what == "drop":
        del raws[at]
    elif what == "twice":
        raws.insert(int(rng.integers(len(raws) + 1)), raws[at])
    elif what == "swap":
        place = int(rng.integers(len(raws)))
        raws[at], raws[place] = raws[place], raws[at]
    elif what == "foreign":
        theirs = list(_onnx_file.fields(other))
        raws.insert(at, pick(rng, theirs)[2])
    elif what == "renumber":
        raws[at] = _onnx_file.tagged(int(rng.integers(1, 30)), found[at][1] or raws[at])
    elif what == "varint":
        raws.append(
            bytes([int(rng.integers(1, 16)) << 3]) + b"\xff" * int(rng.integers(1, 9)) + b"\x01"
        )
    elif what == "length":
        raws[at] = bytes([raws[at][0]]) + b"\xff\xff\xff\xff\x0f" + raws[at][2:]
    else:
        raws.append(_onnx_file.tagged(14, rng.bytes(int(rng.integers(40)))))
    return b"".join(raws)


# JSON


class Raw(str):
    """A piece of JSON text, put out as it is."""


class Pairs(list[Any]):
    """An object as ``[key, value]`` lists, so that a key can be there twice."""


_HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    Raw("1e999"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("1" * 5000),
    Raw("0." + "1" * 5000),
    Raw("1E+2"),
    Raw("01"),
    Raw("'x'"),
    Raw(""),
    Raw("[" * 40 + "]" * 40),
    Raw("[" * 100_000),
    Raw("[" * 5000 + "]" * 5000),
    Raw('{"a":' * 2000 + "1" + "}" * 2000),
    Raw('"\\ud800"'),
    Raw('"\\u0000"'),
    Raw('"\\x"'),
    "",
    " ",
    "x",
    "x" * 300,
    "x" * 100_000,
    "0" * 64,
    "../../escaped",
    "/abs/escaped",
    "a/b",
    "..",
    ".",
    "~",
    "-rf",
    "con\x00trol",
    "\x1b[2J\x1b]0;x\x07",
    "line\nANOMALOUS line",
    "\u202egnp.x",
    "<script>alert(1)</script>",
    "%s %n {0} {}",
    "\U0001f600",
    "nan",
    "1",
    "true",
    [],
    {},
    [[]],
    [None],
    [0] * 10_000,
    ["x"],
    {"x": 1},
    {"": ""},
    [1e308, -1e308],
)


def _hostile(rng: Rng) -> Any:
    """Return a value of its own: the next change may be made inside it."""
    return copy.deepcopy(pick(rng, _HOSTILE))


def mutate_json(rng: Rng, value: Any) -> bytes:
    """Return a JSON text, or nearly one, of a value with one to three of its places changed."""
    tree = _pairs(value)
    for _ in range(int(rng.integers(1, 4))):
        tree = _mutate_tree(rng, tree)
    data = _text(tree).encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        data = pick(
            rng, (b"\xef\xbb\xbf" + data, data + b" x", data + data, data[: len(data) // 2])
        )
    if rng.random() < 0.03:
        data = mutate_bytes(rng, data or b" ")
    return data


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs([key, _pairs(entry)] for key, entry in value.items())
    return [_pairs(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _text(tree: Any) -> str:
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {_text(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_text, tree)) + "]"
    if isinstance(tree, dict):
        return _text(_pairs(tree))
    return json.dumps(tree)


def _places(tree: Any, path: Path = ()) -> list[Path]:
    """Return the path of every value; long lists give their first entries."""
    places = [path]
    if isinstance(tree, Pairs):
        for index, (_, value) in enumerate(tree):
            places += _places(value, (*path, (index, 1)))
    elif isinstance(tree, list):
        for index, value in enumerate(tree[:6]):
            places += _places(value, (*path, index))
    return places


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[step[0]][step[1]] if isinstance(step, tuple) else tree[step]
    return tree


def _replaced(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    holder, step = _at(tree, path[:-1]), path[-1]
    if isinstance(step, tuple):
        holder[step[0]][step[1]] = value
    else:
        holder[step] = value
    return tree


def _mutate_tree(rng: Rng, tree: Any) -> Any:
    places = _places(tree)
    path = pick(rng, places)
    value = _at(tree, path)
    if rng.random() < 0.4:
        return _replaced(tree, path, _hostile(rng))
    if isinstance(value, Pairs):
        _mutate_object(rng, value)
        return tree
    if isinstance(value, list):
        return _replaced(tree, path, _mutate_list(rng, value))
    if isinstance(value, bool) or value is None:
        return _replaced(tree, path, pick(rng, (not value, int(bool(value)), "x")))
    if isinstance(value, (int, float)):
        near = (value + 1, value - 1, -value, value * 1000, value / 3, str(value), float(value))
        return _replaced(tree, path, pick(rng, near))
    if isinstance(value, str) and not isinstance(value, Raw):
        at = int(rng.integers(len(value) + 1))
        near = (
            value[:at],
            value + value,
            value[:at] + "/" + value[at:],
            value.upper(),
            value + "\n",
        )
        return _replaced(tree, path, pick(rng, near))
    return _replaced(tree, path, copy.deepcopy(_at(tree, pick(rng, places))))


def _mutate_object(rng: Rng, pairs: Pairs) -> None:
    what = pick(rng, ("drop", "twice", "new", "rename", "swap"))
    if not pairs or what == "new":
        names = ("new", "", "x" * 1000, "__class__", "schema", "../x", "\x1b[2J", "a\nb")
        pairs.append([pick(rng, names), _hostile(rng)])
        return
    at = int(rng.integers(len(pairs)))
    if what == "drop":
        del pairs[at]
    elif what == "twice":
        value = pairs[at][1] if rng.random() < 0.5 else _hostile(rng)
        pairs.insert(int(rng.integers(len(pairs) + 1)), [pairs[at][0], value])
    elif what == "rename":
        pairs[at][0] = pick(rng, (pairs[at][0].upper(), pairs[at][0] + "_", "x\ny"))
    else:
        place = int(rng.integers(len(pairs)))
        pairs[at][1], pairs[place][1] = pairs[place][1], pairs[at][1]


def _mutate_list(rng: Rng, values: list[Any]) -> list[Any]:
    what = pick(rng, ("more", "less", "none", "nested", "many"))
    if what == "more" or not values:
        return [*values, values[0] if values else _hostile(rng)]
    choices = {"less": values[:-1], "none": [], "nested": [values], "many": (values * 500)[:5000]}
    return choices[what]
