"""Tables that reports and benchmarks write."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, without a newline at its end.

    Example:
        >>> print(table(["part", "score"], [["bottle", "0.5"]]))
        | part | score |
        | --- | --- |
        | bottle | 0.5 |
    """
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))
