"""The one reader for JSON that edgead is given: within bounds, typed, and one sentence if it fails.

A manifest, a run's record, a settings file, a benchmark's result may be damaged, or written by
somebody who means harm. Whatever is in them, reading ends with plain values or an error that names
the file.

Keys that this version does not know are passed over, in every file: a newer edgead adds keys
without a new schema number. A missing key and a value of another type are errors.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import types
import typing
from typing import Any, NoReturn, TypeVar

from edgead import files
from edgead.errors import EdgeadError

MOST_BYTES = 16 << 20
"""A larger file is refused before it is read. The largest that edgead writes has a few MiB."""

DEEPEST = 32
"""Objects and lists inside one another; edgead writes at most six."""

LARGEST_INTEGER = 2**63 - 1

_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_OPENING, _CLOSING = ("[", "{"), ("]", "}")

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a JSON text came from, and how its faults are reported.

    Attributes:
        name: What errors call it, for example ``the manifest of part.onnx``.
        error: The class of the errors.
        advice: What a user should do next; the end of every error.
    """

    name: str
    error: type[EdgeadError]
    advice: str

    def fail(self, what: str) -> NoReturn:
        """Raise :attr:`error` for a fault, such as ``lacks the key 'x'``."""
        raise self.error(f"{self.name} {what}: {self.advice}")


def read(
    path: str | os.PathLike[str],
    error: type[EdgeadError],
    advice: str,
    most_bytes: int = MOST_BYTES,
) -> Any:
    """Read a JSON file.

    Args:
        path: A regular file.
        error: The class of the errors.
        advice: What a user should do next; the end of every error.
        most_bytes: A larger file is refused unread.

    Returns:
        Plain values: ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` and ``None``.

    Raises:
        EdgeadError: Of the class ``error``: the file cannot be read, or :func:`parse` refuses it.
    """
    source = Source(os.fspath(path), error, advice)
    try:
        data = files.read_regular(path, most_bytes)
    except OSError as failure:
        raise error(f"cannot read {path}: {failure.strerror}; {advice}") from failure
    return parse(data, source)


def parse(data: bytes | str, source: Source) -> Any:
    """Parse JSON within bounds.

    Args:
        data: The text; bytes are UTF-8.
        source: Names it in errors.

    Returns:
        Plain values, as :func:`read`.

    Raises:
        EdgeadError: Not UTF-8 or not JSON; a key given twice; NaN or infinity; a number that does
            not fit into 64 bits; more than :data:`DEEPEST` levels; text that is not Unicode.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_float,
            parse_int=_int,
        )
        _check_text(value)
    except (ValueError, RecursionError) as error:
        raise source.error(
            f"{source.name} is not valid JSON ({error or 'too deep'}): {source.advice}"
        ) from error
    return value


def build(kind: type[_Value], value: Any, source: Source, key: str = "") -> _Value:
    """Turn a parsed value into ``kind``, or say which key is wrong and how.

    Args:
        kind: A dataclass of which each field is annotated with ``str``, ``int``, ``float``,
            ``bool``, ``dict``, ``X | None``, ``tuple[X, ...]``, ``tuple[X, X]``, ``list[X]``,
            ``Literal["a", "b"]`` or another such dataclass; or one of these types.
        value: What :func:`parse` returned, or a part of it.
        source: Names it in errors.
        key: Where in it ``value`` lies, such as ``training.photo_sizes``.

    Raises:
        EdgeadError: A missing key, a value of another type, none of the literals, or a tuple of
            another length; names the key and both sides.
    """
    return typing.cast(_Value, _build(kind, value, source, key))


def _build(kind: Any, value: Any, source: Source, key: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, source, key)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is typing.Literal:
        if value not in arguments:
            known = " or ".join(map(repr, arguments))
            source.fail(f"has '{key}' = {str(value)[:40]!r}, but only {known} is allowed")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (choice for choice in arguments if choice is not type(None))
        return _build(kind, value, source, key)
    if origin in (tuple, list):
        if not isinstance(value, list):
            _wrong_type(source, key, "a list", value)
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                source.fail(f"has {len(value)} values in '{key}', expected {len(arguments)}")
            kinds: tuple[Any, ...] = arguments
        else:
            kinds = (arguments[0],) * len(value)
        return origin(
            _build(item, entry, source, f"{key}[{index}]")
            for index, (item, entry) in enumerate(zip(kinds, value, strict=True))
        )
    if kind is dict or origin is dict:
        if not isinstance(value, dict):
            _wrong_type(source, key, "an object", value)
        if not arguments or arguments[1] is Any:
            return value
        return {
            name: _build(arguments[1], entry, source, f"{key}.{name}")
            for name, entry in value.items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        _wrong_type(source, key, kind.__name__, value)
    return value


def _build_dataclass(kind: Any, value: Any, source: Source, key: str) -> Any:
    if not isinstance(value, dict):
        _wrong_type(source, key, "an object", value)
    hints = typing.get_type_hints(kind)
    arguments = {}
    for field in dataclasses.fields(kind):
        name = f"{key}.{field.name}" if key else field.name
        if field.name in value:
            arguments[field.name] = _build(hints[field.name], value[field.name], source, name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            source.fail(f"lacks the key '{name}'")
    return kind(**arguments)


def _wrong_type(source: Source, key: str, expected: str, value: Any) -> NoReturn:
    where = f"has '{key}' of the wrong type" if key else "is of the wrong type"
    source.fail(f"{where} (expected {expected}, found {type(value).__name__} {str(value)[:40]!r})")


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    depth = 0
    for match in _TEXT_OR_BRACKET.finditer(text):
        if match[0] in _OPENING:
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"more than {DEEPEST} levels of lists and objects")
        elif match[0] in _CLOSING:
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key {twice[:40]!r} occurs twice")
    return found


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


def _float(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word[:40]} is not a finite number of 64 bits")
    return value


def _int(word: str) -> int:
    # Longer words are refused unread: converting them takes time that grows with their square.
    if len(word) > 20 or abs(int(word)) > LARGEST_INTEGER:
        raise ValueError(f"the whole number {word[:24]} does not fit into 64 bits")
    return int(word)


def _check_text(value: Any) -> None:
    """Refuse lone surrogates, which JSON can spell as escapes but nothing can write."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, entry in value.items():
            key.encode()
            _check_text(entry)
    elif isinstance(value, list):
        for entry in value:
            _check_text(entry)
