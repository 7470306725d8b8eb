"""Self-contained HTML pages in one style: no script, no file beside them, no network."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence

import cv2

from edgead import files, images
from edgead.errors import EdgeadError

GOOD_COLOUR = "#2f7d5b"
BAD_COLOUR = "#c2452d"
LINE_COLOUR = "#dde3e8"
INK_COLOUR = "#1d252c"

_JPEG_QUALITY = 88
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


def write(path: str | os.PathLike[str], title: str, body: str, style: str = "") -> None:
    """Write a page.

    Args:
        path: The ``.html`` file.
        title: Plain text.
        body: HTML.
        style: CSS that only this page needs.
    """
    files.write_text(
        path,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n{body}\n"
        "</body></html>\n",
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def headline(figures: Sequence[tuple[str, str]]) -> str:
    """Return the boxes at the top of a page: (what, value), both HTML."""
    cells = "".join(f"<div>{name}<b>{value}</b></div>" for name, value in figures)
    return f"<div class='figures'>{cells}</div>"


def picture(photo: images.Image, width: int) -> str:
    """Return a photo (uint8 ``[H, W, 3]`` BGR) as an inline JPEG, ``width`` pixels wide."""
    height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    small = images.resize(photo, (height, width))
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise EdgeadError("OpenCV cannot encode a picture for the report as JPEG")
    data = base64.b64encode(encoded.tobytes()).decode()
    return f"<img alt='' src='data:image/jpeg;base64,{data}'>"
