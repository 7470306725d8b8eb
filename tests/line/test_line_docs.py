"""The configurations in the documentation can be read, and name every key of an output."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from edgead.line import parts
from edgead.line.config import LineConfig, place_of, table_of
from edgead.line.page import metrics
from edgead.line.verdict import Judged
from tests.line.judged import good
from tests.line.stations import Stand

_DOCS = Path(__file__).parents[2] / "docs"
_REFERENCE = _DOCS / "reference/line-outputs.md"
_BLOCKS = [
    pytest.param(text, id=f"{page.stem}-{count}")
    for page in sorted(_DOCS.rglob("*.md"))
    for count, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.S | re.M))
    if "[[station]]" in text
]


@pytest.mark.parametrize("text", _BLOCKS)
def test_configurations_can_be_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text(text)
    assert LineConfig.from_table(table_of(path), place_of(path)).stations


def test_the_reference_has_every_key_of_outputs_verdicts_and_metrics() -> None:
    text = _REFERENCE.read_text()
    for kind in sorted({*parts.OUTPUTS} - {"print"}):
        for field in dataclasses.fields(parts.find("output", kind).Options):
            assert re.search(rf"\b{field.name}\b", text), f"{kind}: {field.name}"
    judged: Judged = good()
    for key in judged.verdict.to_json():
        assert f"`{key}`" in text, key
    for name in re.findall(r"^# TYPE (\S+)", metrics.text([Stand().status()]), re.M):
        assert f"`{name}`" in text, name
