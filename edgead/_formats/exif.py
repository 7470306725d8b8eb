"""The EXIF orientation, from the TIFF structure that EXIF is."""

from __future__ import annotations

_ORIENTATION, _SHORT = 0x0112, 3
_PREFIX = b"Exif\0\0"


def orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where nothing that is valid is stated.

    Args:
        exif: The TIFF structure, with or without the ``Exif`` prefix of JPEG.
    """
    tiff = exif.removeprefix(_PREFIX)
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    order = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    for index in range(number(directory, 2)):
        entry = directory + 2 + 12 * index
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == _ORIENTATION and number(entry + 2, 2) == _SHORT:
            stated = number(entry + 8, 2)
            return stated if 1 <= stated <= 8 else 1
    return 1
