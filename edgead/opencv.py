"""Why OpenCV does not work here, asked for after something has failed."""

from __future__ import annotations

from edgead import packages

_WANTED = "opencv-python-headless"
_SAME_FOLDER = (
    _WANTED,
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def problem() -> str | None:
    """Say why the package ``cv2`` cannot be used and what mends it; ``None`` if it can.

    What uninstalling one of two distributions leaves can be imported, as an empty package.
    """
    try:
        import cv2
    except ImportError as error:
        return f"OpenCV (cv2) cannot be imported ({error}): {_advice()}"
    if not hasattr(cv2, "imdecode"):
        return f"OpenCV (cv2) has lost some of its files: {_advice()}"
    return None


def conflict() -> str | None:
    """Say which distributions of OpenCV are installed beside each other, if several are."""
    return packages.conflict(packages.installed(_SAME_FOLDER), _WANTED)


def _advice() -> str:
    return conflict() or f"pip install --force-reinstall {_WANTED}"
