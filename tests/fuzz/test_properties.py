"""What holds of every text and every value, looked for by Hypothesis."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgead import strict_json
from edgead.errors import EdgeadError, UsageError
from edgead.printable import printable

# The same examples in every run, whatever the machine's load.
settings.register_profile("edgead", derandomize=True, deadline=None, database=None)
settings.load_profile("edgead")

SOURCE = strict_json.Source("the file", UsageError, "make it again")

numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@dataclasses.dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outer:
    text: str
    number: float
    inner: Inner
    maybe: int | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


outers = st.fixed_dictionaries(
    {
        "text": texts | values,
        "number": numbers | values,
        "inner": st.fixed_dictionaries(
            {"size": st.lists(st.integers(0, 9), min_size=2, max_size=2) | values},
            optional={"names": st.lists(texts, max_size=3) | values},
        ),
    },
    optional={"maybe": st.integers(0, 9) | values, "options": values, "unknown": values},
)


@given(values)
def test_what_json_can_hold_is_read_as_it_was_written(value: Any) -> None:
    assert strict_json.parse(json.dumps(value), SOURCE) == value
    assert strict_json.parse(json.dumps(value, ensure_ascii=False).encode(), SOURCE) == value


@given(st.binary() | texts | st.text(alphabet='[]{}",:0e1N\\u'))
def test_any_bytes_are_plain_values_or_one_error(data: bytes | str) -> None:
    try:
        value = strict_json.parse(data, SOURCE)
    except UsageError:
        return
    json.dumps(value, allow_nan=False).encode()


@given(outers)
@settings(max_examples=300)
def test_what_is_built_has_the_types_that_were_asked_for(value: dict[str, Any]) -> None:
    try:
        built = strict_json.build(Outer, value, SOURCE)
    except EdgeadError:
        return
    assert type(built.text) is str
    assert type(built.number) is float
    assert [type(side) for side in built.inner.size] == [int, int]
    assert all(type(name) is str for name in built.inner.names)
    assert built.maybe is None or type(built.maybe) is int
    assert type(built.options) is dict


@given(st.text())
def test_foreign_text_is_one_printable_line(text: str) -> None:
    line = printable(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or ord(character) == 127 for character in line)
    line.encode()


@pytest.mark.parametrize("depth", [1, 32, 33, 1000, 100_000])
def test_depth_has_a_bound(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth <= strict_json.DEEPEST:
        strict_json.parse(text, SOURCE)
        return
    with pytest.raises(UsageError, match="levels"):
        strict_json.parse(text, SOURCE)
