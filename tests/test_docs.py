"""The documentation's commands exist, its Python runs, and its site builds without a warning."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgead.cli import _commands
from tests.conftest import part, write_photo

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMES = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]
_REMOVED = "ef9988d"  # the commit that has the studies that were removed


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.DOTALL | re.M)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def commands(page: Path) -> list[list[str]]:
    """The commands that begin with edgead, or with an environment's edgead."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and Path(line[0]).name == "edgead"]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_is_one(page: Path) -> None:
    for words in commands(page):
        _commands.parser().parse_args(words[1:])


def test_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 40


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_that_are_run_exist(page: Path) -> None:
    for line in page.read_text().splitlines():
        for module in re.findall(r"python -m ((?:edgead|studies|tests)[\w.]*)", line):
            path = ROOT.joinpath(*module.split("."))
            is_there = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
            assert is_there or _REMOVED in page.read_text(), f"{module} is not there"


def test_public_names_can_be_imported() -> None:
    rows = re.findall(
        r"^\| (`edgead\..*?) \|", (ROOT / "docs/reference/python.md").read_text(), re.M
    )
    names = [re.findall(r"`([\w.]+)`", row) for row in rows]
    assert sum(map(len, names)) >= 25
    for first, *others in names:
        place = first.rpartition(".")[0]
        for name in (first, *(other if "." in other else f"{place}.{other}" for other in others)):
            module, _, attribute = name.rpartition(".")
            is_there = hasattr(importlib.import_module(module), attribute)
            assert is_there or importlib.import_module(name), name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "studies/README.md"])
def test_links_outside_of_the_site_lead_to_files(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=str)
def test_python_runs(
    page: Path, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(exported, tmp_path / "efficientad-n-int8.onnx")
    write_photo(tmp_path / "photo.jpg", part(0))
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "python"):
        # Programs run under their own name only; a camera is not here.
        exec(compile(text, str(page), "exec"), {"__name__": "documentation"})


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/reference/cli/index.html").read_text().count("<h2") > 8
