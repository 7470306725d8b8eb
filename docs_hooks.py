"""What mkdocs puts into the pages when it builds the site: the help of every command."""

from __future__ import annotations

import argparse
import os
from typing import Any

_PLACE = "<!-- the help of every command is put here when the site is built (docs_hooks.py) -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the place of the commands' help on the page that has one."""
    return markdown.replace(_PLACE, _commands()) if _PLACE in markdown else markdown


def _commands() -> str:
    from edgead.cli import _commands as commands

    os.environ["COLUMNS"] = "100"  # argparse wraps its help at the width of a terminal
    (subparsers,) = (
        action
        for action in commands.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return "\n\n".join(
        f"## edgead {name}\n\n```text\n{parser.format_help()}```"
        for name, parser in subparsers.choices.items()
    )
