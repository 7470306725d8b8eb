from __future__ import annotations

from pathlib import Path

from edgead import markdown, page
from edgead.markup import Html, element, joined
from tests.pages import HOSTILE, require_harmless_markdown, require_harmless_page


def test_only_what_was_made_here_is_markup() -> None:
    inner = element("b", "1 < 2")
    assert inner == "<b>1 &lt; 2</b>"
    assert element("p", inner, "&", class_="a'b\"", hidden=None, aria_label=1) == (
        '<p class="a&#x27;b&quot;" aria-label="1"><b>1 &lt; 2</b>&amp;</p>'
    )
    assert joined("<", Html("<br>")) == "&lt;<br>"
    assert element("img", alt="") == '<img alt="">'


def test_a_page_is_allowed_nothing_from_elsewhere(tmp_path: Path) -> None:
    rows = [(HOSTILE, element("code", HOSTILE))]
    body = page.lines(page.table((HOSTILE,), rows), page.headline(((HOSTILE, HOSTILE),)))
    page.write(tmp_path / "a.html", HOSTILE, joined(body, page.soft(HOSTILE)))
    text = (tmp_path / "a.html").read_text()
    require_harmless_page(text)
    assert "Content-Security-Policy" in text
    assert "default-src &#x27;none&#x27;" in text


def test_foreign_text_is_one_cell_of_markdown() -> None:
    text = markdown.table((HOSTILE, "b"), [(HOSTILE, "1")])
    require_harmless_markdown(text)
    assert len(text.splitlines()) == 3
    require_harmless_markdown(markdown.bullets([HOSTILE]))
    assert markdown.code("a`b\n") == "`` a`b\\n ``"
