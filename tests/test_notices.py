from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from edgead import notices

_LIBRARY = """
import logging
from edgead import notices
from edgead.progress import progress
logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.INFO)
notices.warn("a\\nb")
notices.note("c")
list(progress(range(3), 3, "working"))
"""


def test_a_program_gets_notices_through_logging() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIBRARY], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["WARNING edgead a\\nb", "INFO edgead c"]
    assert done.stdout == ""


def test_a_command_shows_them_and_does_not_log_them(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "edgead"), notices.shown():
        notices.warn("a\nb")
        notices.note("c")
        notices.say("d")
    assert capsys.readouterr().err == "warning: a\\nb\nnote: c\nd\n"
    assert caplog.records == []
