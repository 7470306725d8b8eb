"""Foreign text (names of files, text inside of artifacts and results), safe to print on one line.

A line break in a file's name forges a line of output, and an escape code in it commands the
terminal.
"""

from __future__ import annotations

import os
import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories: control and format characters (line breaks, escape, changes of the writing
direction), what is no character, and separators of lines and paragraphs."""


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return text of one line in which each unsafe character is an escape.

    Example:
        >>> printable("a.png\nANOMALOUS b.png")
        'a.png\\nANOMALOUS b.png'
    """
    plain = os.fspath(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(map(_escaped, plain))


def printable_lines(text: str) -> str:
    r"""Return text whose line breaks and tabs are meant; each other unsafe character is an escape.

    Example:
        >>> printable_lines("score\n\x1b[2J")
        'score\n\\x1b[2J'
    """
    if text.isascii() and (text == "\n" or text.isprintable()):
        return text
    return "".join(one if one in "\n\t" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _UNSAFE:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
