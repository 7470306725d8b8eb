"""HTML and SVG in which every text is escaped unless it was made here.

Names of files, of detectors and of devices, and whatever is in somebody else's result, reach the
pages. Nothing is escaped by hand: only what :func:`element` or :func:`joined` made is markup.
"""

from __future__ import annotations

import html

from edgead.printable import printable_lines

_WITHOUT_END = frozenset({"img", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, /, *children: str, **attributes: object) -> Html:
    """Return an element of HTML or SVG.

    Args:
        tag: Its name.
        children: What is in it: :class:`Html` stays, other text is escaped.
        attributes: Their values are escaped, and those that are ``None`` left out. A name ends with
            an underscore where Python needs one (``class_``); others stand for hyphens.

    Example:
        >>> element("p", "1 < 2, ", element("b", "&"), class_="soft")
        '<p class="soft">1 &lt; 2, <b>&amp;</b></p>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _WITHOUT_END:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*parts: str) -> Html:
    """Return the parts one after the other: :class:`Html` stays, other text is escaped."""
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def _escaped(text: str) -> str:
    return html.escape(printable_lines(text))
