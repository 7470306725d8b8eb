from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgead.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("part 1.png", "part 1.png"),
        ("größe 大.png", "größe 大.png"),
        ("a\nANOMALOUS 9 b.png", "a\\nANOMALOUS 9 b.png"),
        ("\x1b[2J\x07\x9b", "\\x1b[2J\\x07\\x9b"),
        ("gnp\u202e.txt", "gnp\\u202e.txt"),
        ("line\u2028end", "line\\u2028end"),
        (Path(os.fsdecode(b"x\xff.png")), "x\\udcff.png"),
    ],
)
def test_what_would_forge_a_line_or_command_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()
