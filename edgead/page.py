"""Self-contained HTML pages in one style: no script, no file beside them, no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

import cv2

from edgead import files, images
from edgead.errors import EdgeadError
from edgead.markup import Html, element, joined

GOOD_COLOUR = "#2f7d5b"
BAD_COLOUR = "#c2452d"
LINE_COLOUR = "#dde3e8"
INK_COLOUR = "#1d252c"

_JPEG_QUALITY = 88
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may do with a page: no script, nothing loaded, whatever is in it."""

_STYLE = f"""
:root {{ --ink: {INK_COLOUR}; --soft: #5b6770; --line: {LINE_COLOUR}; --good: {GOOD_COLOUR};
  --bad: {BAD_COLOUR}; }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 1080px;
  padding: 32px 24px 64px; }}
h1 {{ font-size: 28px; margin: 0 0 4px; }} h2 {{ font-size: 19px; margin: 40px 0 8px; }}
p {{ margin: 6px 0; max-width: 72ch; }} .soft, figcaption {{ color: var(--soft); font-size: 14px; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 0; }}
.figures div {{ border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px;
  min-width: 130px; }}
.figures b {{ display: block; font-size: 24px; }}
.row {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin: 8px 0 18px; }}
figure {{ margin: 0; }} img {{ width: 100%; border-radius: 6px; display: block; }}
table {{ border-collapse: collapse; }} th, td {{ text-align: right; padding: 4px 14px 4px 0;
  border-bottom: 1px solid var(--line); }}
th:first-child, td:first-child {{ text-align: left; }}
code {{ font: 14px ui-monospace, monospace; overflow-wrap: anywhere; }}
.good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
svg {{ width: 100%; height: auto; }}
svg text {{ font: 13px system-ui, sans-serif; fill: var(--soft); }}
"""


def write(path: str | os.PathLike[str], title: str, body: Html, style: str = "") -> None:
    """Write a page.

    Args:
        path: The ``.html`` file.
        title: Plain text.
        body: What is shown.
        style: CSS that only this page needs.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(_STYLE + style)),
    )
    page = element("html", head, Html("\n"), element("body", Html("\n"), body), lang="en")
    files.write_text(path, f"<!doctype html>\n{page}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """Return a table; cells are text, or :class:`~edgead.markup.Html`."""
    lines = [element("tr", *(element("th", cell) for cell in head))]
    lines += [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("table", *lines)


def headline(figures: Sequence[tuple[str, str]]) -> Html:
    """Return the boxes at the top of a page: (what, value)."""
    boxes = (element("div", name, element("b", value)) for name, value in figures)
    return element("div", *boxes, class_="figures")


def soft(text: str) -> Html:
    """Return a paragraph of small print."""
    return element("p", text, class_="soft")


def lines(*parts: str) -> Html:
    """Return the parts, each on a line of its own."""
    return joined(*(joined(part, Html("\n")) for part in parts))


def picture(photo: images.Image, width: int) -> Html:
    """Return a photo (uint8 ``[H, W, 3]`` BGR) as an inline JPEG, ``width`` pixels wide."""
    height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    small = images.resize(photo, (height, width))
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise EdgeadError("OpenCV cannot encode a picture for the report as JPEG")
    data = base64.b64encode(encoded.tobytes()).decode()
    return element("img", alt="", src=f"data:image/jpeg;base64,{data}")
