"""Text that would do harm in a page or a terminal, and what a page may consist of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>|](http://x)![a](b)\n# forged\x1b[2J"
)

_NAMES = (
    "html head meta title style body h1 h2 p b div span table tr th td small ul li code figure "
    "figcaption img svg g rect line circle polygon polyline text"
)
_TAGS = frozenset(_NAMES.split())
_ATTRIBUTE = re.compile(r"(?!on)[a-zA-Z0-9-]+")


class _Checker(HTMLParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _TAGS, tag
        for name, value in attrs:
            assert _ATTRIBUTE.fullmatch(name), name
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/jpeg;base64,"), value


def require_harmless_page(text: str) -> None:
    """Check that a page consists of known tags, and that foreign text became none of them."""
    _Checker().feed(text)
    assert "\x1b" not in text


def require_harmless_markdown(text: str) -> None:
    """Check that foreign text made no line, no HTML, no cell, no link and no picture."""
    assert "\n# forged" not in text
    assert "\x1b" not in text
    text = "\n".join(line for line in text.splitlines() if not line.startswith("    "))  # code
    for markup in ("<script", "<img", "](http", "![a"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", text.replace("]\\(", "")), markup
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) < 20 for row in rows)
