"""Which rooms of the training side import which: arrows point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "edgead"
ORDER = ("distillation", "training", "models", "teachers", "networks")
"""From the top: each may import those after it (docs/notes/architecture.md)."""


def imported(room: str) -> set[str]:
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found |= {name.split(".")[1] for name in names if name.startswith("edgead.")}
    return found


@pytest.mark.parametrize("room", ORDER)
def test_no_room_imports_one_above_it(room: str) -> None:
    above = set(ORDER[: ORDER.index(room)])
    below = set(ORDER[ORDER.index(room) + 1 :])
    assert not imported(room) & (above | {"cli", "compare", "export", "benchmarks"})
    assert imported(room) & below or room == ORDER[-1]  # they are found at all
