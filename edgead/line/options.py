"""Reads the tables of a configuration into dataclasses, and writes them.

A dataclass is the whole description of a table: its fields are the keys, its type hints the types,
its defaults the defaults, and its ``__post_init__`` the bounds. Parts of other packages are read by
the same functions.

Types of fields: ``str``, ``int``, ``float``, ``bool``, :class:`~pathlib.Path`, ``X | None``,
``int | str``, ``tuple[X, ...]``, ``Literal[...]``, ``dict[str, str]``, dataclasses, and classes
that have a ``from_table``. A field with ``metadata={"key": ...}`` has that key in the file.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Union

from edgead.line.errors import ConfigError
from edgead.printable import printable

_Options = TypeVar("_Options")

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    dict: "a table",
    list: "a list",
}


class Text(str):
    """A value of the command line, which is read by the type of the field."""


@dataclass(frozen=True)
class Place:
    """Where in a configuration a table is, and what its relative paths are relative to."""

    folder: Path
    name: str

    def inside(self, what: str) -> Place:
        """Return the place of a table within this one."""
        return Place(self.folder, f"{self.name}: {what}")

    def fail(self, what: str) -> NoReturn:
        """Raise a :class:`ConfigError` that names the place."""
        raise ConfigError(printable(f"{self.name}: {what}"))


def read(kind: type[_Options], table: object, place: Place) -> _Options:
    """Make a dataclass of a table.

    Args:
        kind: A dataclass.
        table: Its keys as TOML has them; values may be :class:`Text`.
        place: Names the table in errors.

    Raises:
        ConfigError: A key is unknown or missing, or a value is of another type or out of bounds.
    """
    if not isinstance(table, Mapping):
        place.fail(f"must be a table of keys, not {_shown(table)}")
    known = keys(kind)
    for key in table:
        if key not in known:
            place.fail(f"there is no key {key!r}; {nearest(str(key), list(known))}")
    values = {}
    for key, (field, hint) in known.items():
        if key in table:
            values[field.name] = _converted(table[key], hint, key, place)
        elif _is_required(field):
            place.fail(f"the key {key!r} is missing")
        elif isinstance(field.default, Path):
            values[field.name] = place.folder / field.default
    try:
        return kind(**values)
    except ValueError as error:
        place.fail(str(error))


def written(options: Any, folder: Path) -> dict[str, Any]:
    """Return a dataclass as a table for TOML, defaults included; a ``None`` has no key.

    Args:
        options: A dataclass that :func:`read` can make.
        folder: Paths inside of it are written relative to it.
    """
    table = {}
    for key, (field, _) in keys(type(options)).items():
        value = getattr(options, field.name)
        if value is not None and value != ():
            table[key] = _plain(value, folder)
    return table


def keys(kind: type) -> Mapping[str, tuple[dataclasses.Field[Any], Any]]:
    """Return the field and the type hint of each key of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {
        field.metadata.get("key", field.name): (field, hints[field.name])
        for field in dataclasses.fields(kind)
        if field.init
    }


def nearest(word: str, known: Sequence[str]) -> str:
    """Say which known word was meant, or which there are."""
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _converted(value: object, hint: Any, key: str, place: Place) -> Any:
    """Check a value against a type hint, and turn lists into tuples and texts into paths."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(value, [each for each in arguments if each is not type(None)], key, place)
    if origin is typing.Literal:
        found = str(value) if isinstance(value, Text) else value
        if found not in arguments:
            words = [str(each) for each in arguments]
            place.fail(f"{key} cannot be {_shown(value)}; {nearest(str(value), words)}")
        return found
    if origin is tuple:
        listed = str(value).split(",") if isinstance(value, Text) else value
        if not isinstance(listed, list):
            place.fail(f"{key} must be a list, not {_shown(value)}")
        texts = [Text(one) for one in listed] if isinstance(value, Text) else listed
        many = [f"{key} {count}" for count in range(1, len(texts) + 1)]
        return tuple(
            _converted(one, arguments[0], name, place)
            for one, name in zip(texts, many, strict=True)
        )
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            place.fail(f"{key} must be a table of texts, not {_shown(value)}")
        return dict(value)
    if hasattr(hint, "from_table"):
        return hint.from_table(value, place.inside(key))
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type, hint), value, place.inside(key))
    return _plain_value(value, hint, key, place)


def _one_of(value: object, hints: Sequence[Any], key: str, place: Place) -> Any:
    for hint in hints[:-1]:
        try:
            return _converted(value, hint, key, place)
        except ConfigError:
            continue
    try:
        return _converted(value, hints[-1], key, place)
    except ConfigError:
        if len(hints) == 1:
            raise
        names = " or ".join(_NAMES.get(hint, str(hint)) for hint in hints)
        place.fail(f"{key} must be {names}, not {_shown(value)}")


def _plain_value(value: object, hint: Any, key: str, place: Place) -> Any:
    found = _of_text(value, hint) if isinstance(value, Text) else value
    if hint is float and isinstance(found, int) and not isinstance(found, bool):
        found = float(found) if abs(found) < sys.float_info.max else math.inf
    expected = str if hint is Path else hint
    is_one = isinstance(found, expected) and (hint is bool or not isinstance(found, bool))
    if not is_one or (isinstance(found, float) and not math.isfinite(found)):
        wanted = "a finite number" if hint is float else _NAMES.get(hint, str(hint))
        place.fail(f"{key} must be {wanted}, not {_shown(value)}")
    if hint is Path:
        if not found:
            place.fail(f"{key} must be a path, and is empty")
        return place.folder / typing.cast(str, found)
    return str(found) if isinstance(found, Text) else found


def _of_text(text: Text, hint: Any) -> object:
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text


def _plain(value: Any, folder: Path) -> Any:
    if hasattr(value, "to_table"):
        return value.to_table(folder)
    if dataclasses.is_dataclass(value):
        return written(value, folder)
    if isinstance(value, tuple):
        return [_plain(one, folder) for one in value]
    if isinstance(value, Path):
        return str(value.relative_to(folder) if value.is_relative_to(folder) else value)
    return value


def _shown(value: object) -> str:
    name = _NAMES.get(str if isinstance(value, Text) else type(value), type(value).__name__)
    return name if isinstance(value, (dict, list)) else f"{str(value)[:60]!r} ({name})"
