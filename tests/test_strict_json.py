from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgead import strict_json
from edgead.errors import ArtifactError
from edgead.strict_json import Source

SOURCE = Source("x.json", ArtifactError, "export again")


@dataclass(frozen=True)
class _Inner:
    values: tuple[float, ...]
    pair: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Outer:
    name: str
    inner: _Inner
    counts: dict[str, int]
    free: dict[str, Any]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "delimiter"),
        (b"\xff", "utf-8"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b"[NaN]", "NaN is not a finite number"),
        (b"[1e999]", "not a finite number of 64 bits"),
        (b"[-Infinity]", "-Infinity is not a finite number"),
        (b"[9223372036854775808]", "does not fit into 64 bits"),
        (b"[" + b"9" * 100_000 + b"]", "does not fit into 64 bits"),
        (b"[" * 100_000, "more than 32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "more than 32 levels"),
        (b'["\\ud800"]', "surrogates not allowed"),
    ],
)
def test_text_that_is_not_plain_json_ends_in_one_sentence(text: bytes, why: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        strict_json.parse(text, SOURCE)
    message = str(caught.value)
    assert why in message
    assert message.startswith("x.json is not valid JSON (")
    assert message.endswith("): export again")
    assert len(message) < 200


def test_brackets_in_text_are_not_levels() -> None:
    value = {"a": "[" * 1000 + '"\\' + "{" * 1000, "b": ["\\", [[]]]}
    assert strict_json.parse(json.dumps(value), SOURCE) == value


def test_values_are_built_by_their_annotations_and_unknown_keys_are_passed_over() -> None:
    value = {
        "name": "a",
        "inner": {"values": [1, 2.5], "pair": [3, 4], "newer": 1},
        "counts": {"x": 1},
        "free": {"y": [None]},
        "newer": {},
    }
    built = strict_json.build(_Outer, value, SOURCE)
    assert built == _Outer("a", _Inner((1.0, 2.5), (3, 4)), {"x": 1}, {"y": [None]})


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("name", 3, "'name' of the wrong type (expected str, found int '3')"),
        ("name", None, "'name' of the wrong type (expected str, found NoneType"),
        ("inner", [], "'inner' of the wrong type (expected an object, found list"),
        ("inner", {}, "lacks the key 'inner.values'"),
        ("inner", {"values": [True]}, "'inner.values[0]' of the wrong type (expected float"),
        ("inner", {"values": [], "pair": [1]}, "has 1 values in 'inner.pair', expected 2"),
        ("counts", {"x": "1"}, "'counts.x' of the wrong type (expected int"),
    ],
)
def test_wrong_values_are_named_with_both_sides(key: str, value: Any, why: str) -> None:
    whole = {"name": "a", "inner": {"values": []}, "counts": {}, "free": {}, key: value}
    with pytest.raises(ArtifactError) as caught:
        strict_json.build(_Outer, whole, SOURCE)
    assert why in str(caught.value)
    assert str(caught.value).endswith(": export again")


def test_files_are_regular_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ArtifactError, match=r"cannot read .*a\.json: No such file.*; export"):
        strict_json.read(path, ArtifactError, "export again")
    path.write_text('{"a": 1}')
    assert strict_json.read(path, ArtifactError, "export again") == {"a": 1}
    with pytest.raises(ArtifactError, match="8 bytes .limit: 4"):
        strict_json.read(path, ArtifactError, "export again", most_bytes=4)
