"""Tables that reports and benchmarks write."""

from __future__ import annotations

from collections.abc import Sequence


def figure(value: float | None, form: str = ".4f") -> str:
    """Return a number for a table, and a dash where there is none.

    Example:
        >>> figure(0.98765), figure(12.3, ".2f"), figure(None)
        ('0.9877', '12.30', '-')
    """
    return "-" if value is None else format(value, form)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, without a newline at its end.

    Example:
        >>> print(table(["part", "score"], [["bottle", "0.5"]]))
        | part | score |
        | --- | --- |
        | bottle | 0.5 |
    """
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))
