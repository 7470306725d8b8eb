"""Text, code and tables of the Markdown that reports and benchmarks write."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgead.printable import printable

_MARKUP = re.compile(r"[|<]|(?<=])\(|(?<=!)\[")
"""What ends a cell, begins HTML, or makes a link or a picture."""


def figure(value: float | None, form: str = ".4f") -> str:
    """Return a number for a table, and a dash where there is none.

    Example:
        >>> figure(0.98765), figure(12.3, ".2f"), figure(None)
        ('0.9877', '12.30', '-')
    """
    return "-" if value is None else format(value, form)


def plain(text: str) -> str:
    r"""Return foreign text for a cell, a heading or an entry of a list: one line, no markup.

    Example:
        >>> print(plain("a|b <img src=x>"))
        a\|b \<img src=x>
    """
    return _MARKUP.sub(r"\\\g<0>", printable(text))


def code(text: str) -> str:
    """Return foreign text as inline code.

    Example:
        >>> code("edgead info a.onnx"), code("a`b")
        ('`edgead info a.onnx`', '`` a`b ``')
    """
    line = printable(text)
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


def bullets(entries: Sequence[str]) -> str:
    """Return foreign texts as a list, without a newline at its end."""
    return "\n".join(f"- {plain(entry)}" for entry in entries)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a Markdown table of plain text, without a newline at its end.

    Example:
        >>> print(table(["part", "score"], [["a|b", "0.5"]]))
        | part | score |
        | --- | --- |
        | a\|b | 0.5 |
    """
    rule = ["---"] * len(head)
    lines = [[plain(cell) for cell in head], rule, *([plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
