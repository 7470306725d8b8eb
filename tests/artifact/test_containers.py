"""Containers that packages bring and that are broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgead import plugins
from edgead.artifact import containers, read_artifact
from edgead.errors import ArtifactError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    caches = (containers._others, containers._load)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (["gone_container:X"], r"gone_container:X of '\*\.foo' cannot be imported"),
        (["raising_container:X"], "RuntimeError: no licence"),
        (["raising_container:X", "gone_container:X"], "under the same name"),
        (["os:path"], "os:path is not a Container"),
    ],
)
def test_a_broken_one_is_one_sentence(
    points: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_container.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = [EntryPoint("foo", value, containers.ENTRY_POINT_GROUP) for value in points]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    (tmp_path / "part.foo").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=said):
        read_artifact(tmp_path / "part.foo")
    sys.modules.pop("raising_container", None)
