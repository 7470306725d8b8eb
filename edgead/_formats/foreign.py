"""Formats that are not read, known by their first bytes, so that a refusal can name them."""

from __future__ import annotations

_MAGIC = (
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"P7\n", "PAM"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"v/1\x01", "OpenEXR"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"qoif", "QOI"),
    (b"8BPS", "Photoshop"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"IIRO", "Olympus raw"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (b"%PDF", "PDF"),
    (b"SIMPLE  =", "FITS"),
)
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "Canon raw",
    b"isom": "MP4 video",
    b"mp42": "MP4 video",
    b"qt  ": "QuickTime video",
}


def name_of(data: bytes) -> str | None:
    """Return the name of a known format that is not read; ``None`` for an unknown one."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "ISO media file")
    if data[128:132] == b"DICM":
        return "DICOM"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)
