"""Names of folders that people give to photos of good parts."""

from __future__ import annotations

import re

_SINGLE = (
    "good goodparts ok okay okparts io normal normals pass passed accept accepted acceptable clean "
    "healthy intact perfect conform conforming compliant undamaged faultless flawless free "
    "negative negatives neg gut gutteil gutteile bon bonne bons buono buoni bueno buenos bien "
    "correcto bom boa goed dobry dobre 良品 正常 合格"
)
_JOINED = (
    "nondefective nondefect nodefect nodefects defectfree withoutdefect nonanomalous anomalyfree "
    "noanomaly nofault faultfree noerror errorfree fehlerfrei inordnung sansdefaut"
)
_WORDS, _WHOLE = frozenset(_SINGLE.split()), frozenset(_JOINED.split())
_DENIED = "not no non nicht kein ng nok nio bad defect defective false wrong"
_NOT = frozenset(_DENIED.split())


def reads_like_good(name: str) -> bool:
    """Whether a folder's name may stand for good parts.

    Example:
        >>> reads_like_good("OK-parts"), reads_like_good("not_good"), reads_like_good("scratch")
        (True, False, False)
    """
    words = [word for word in re.split(r"[\W\d_]+", name.casefold()) if word]
    joined = "".join(words)
    if joined in _WORDS or joined in _WHOLE:
        return True
    return not _NOT.intersection(words) and not _WORDS.isdisjoint(words)
