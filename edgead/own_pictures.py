"""Pictures that edgead draws carry a mark, so that they are not scored as photos later.

Overlays lie in the folder of their photos often enough, and whoever scores that folder again does
not mean them.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_HEADER = 33  # signature and IHDR, which every PNG begins with
_TEXT = b"tEXtSoftware\0edgead overlay"
_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))


def marked(png: bytes) -> bytes:
    """Return an encoded PNG with the mark in it, a text chunk behind its header."""
    return png[:_HEADER] + _MARK + png[_HEADER:]


def is_marked(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a picture of edgead's own; ``False`` for one that cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(_HEADER + len(_MARK)).endswith(_MARK)
    except OSError:
        return False
