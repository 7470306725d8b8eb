"""USB and other V4L2 cameras, through OpenCV."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgead import notices
from edgead.line.errors import SourceError
from edgead.line.sources.base import Grabbed, Source
from edgead.line.sources.capture import Capture, open_capture

# Values of V4L2_CID_EXPOSURE_AUTO (linux/v4l2-controls.h), which OpenCV passes on.
_MANUAL, _APERTURE_PRIORITY = 1, 3

_LOCKS = {
    "exposure": (cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL),
    "gain": (cv2.CAP_PROP_GAIN, None, 0),
    "white_balance": (cv2.CAP_PROP_WB_TEMPERATURE, cv2.CAP_PROP_AUTO_WB, 0),
    "focus": (cv2.CAP_PROP_FOCUS, cv2.CAP_PROP_AUTOFOCUS, 0),
}
"""Property, the property that makes it automatic, and the value that switches that off."""

_SIZES = {
    "width": cv2.CAP_PROP_FRAME_WIDTH,
    "height": cv2.CAP_PROP_FRAME_HEIGHT,
    "fps": cv2.CAP_PROP_FPS,
}


@dataclass(frozen=True)
class CameraOptions:
    """A V4L2 camera.

    Attributes:
        device: Number, or path such as ``/dev/v4l/by-id/...``, which stays the same after a
            restart.
        width: Pixels; ``None`` for the driver's own.
        height: Pixels.
        fps: Frames a second.
        fourcc: Pixel format, such as ``MJPG`` or ``YUYV``.
        exposure: In the driver's unit, mostly 0.1 ms; automatic where it is not given.
        gain: In the driver's unit.
        white_balance: Kelvin.
        focus: In the driver's unit.
    """

    device: int | str = 0
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = None
    exposure: float | None = None
    gain: float | None = None
    white_balance: float | None = None
    focus: float | None = None

    def __post_init__(self) -> None:
        if self.fourcc is not None and not (self.fourcc.isascii() and len(self.fourcc) == 4):
            raise ValueError(f"fourcc has four letters, as MJPG, not {self.fourcc!r}")
        for name in ("width", "height"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 65536:
                raise ValueError(f"{name} must be from 1 to 65536, not {value}")

    @property
    def path(self) -> str:
        """The device file."""
        return self.device if isinstance(self.device, str) else f"/dev/video{self.device}"


class Camera(Source):
    """A V4L2 camera."""

    Options = CameraOptions
    is_live = True

    def __init__(self, options: CameraOptions) -> None:
        super().__init__(options)
        self._capture: Capture | None = None
        self._settings: dict[str, float | str] = {}

    def open(self) -> None:
        """Open the camera, set its format and lock its controls."""
        path = self.options.path
        _check(path)
        device = int(path[10:]) if path[10:].isdecimal() and path[:10] == "/dev/video" else path
        capture = open_capture(device, cv2.CAP_V4L2, _format(self.options))
        if not capture.is_open:
            capture.close()
            raise SourceError(_reason(path))
        self._capture = capture
        self._settings = self._set_up(capture)

    def _set_up(self, capture: Capture) -> dict[str, float | str]:
        """Set and lock, read back, and warn of what the driver refused."""
        settings: dict[str, float | str] = {}
        for name, prop in _SIZES.items():
            settings[name] = capture.get(prop)
            asked = getattr(self.options, name)
            if asked is not None and asked != settings[name]:
                notices.warn(f"{self.options.path} has {name} {settings[name]:g}, not {asked:g}")
        for name, (prop, automatic, off) in _LOCKS.items():
            asked = getattr(self.options, name)
            if asked is None:
                settings[name] = "not set"
                continue
            is_locked = automatic is None or capture.set(automatic, off)
            is_set = capture.set(prop, asked)
            settings[name] = capture.get(prop)
            if not (is_locked and is_set) or settings[name] != asked:
                notices.warn(
                    f"{self.options.path} does not take {name} {asked:g} (it has "
                    f"{settings[name]}); 'v4l2-ctl -d {self.options.path} -L' lists what it takes"
                )
        if self.options.exposure is None:
            notices.note(
                f"the exposure of {self.options.path} is automatic (now "
                f"{capture.get(cv2.CAP_PROP_EXPOSURE):g}): scores move with it; set exposure, gain "
                "and white_balance"
            )
        return settings

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame; OpenCV waits two seconds at most."""
        assert self._capture is not None
        frame = self._capture.read("frame")
        if frame is None:
            raise SourceError(f"{self.options.path} gives no frames: it was unplugged, or hangs")
        return frame

    def close(self) -> None:
        """Release the camera."""
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def settings(self) -> Mapping[str, float | str]:
        """Return size, rate and what is locked."""
        return self._settings


def _format(options: CameraOptions) -> list[int]:
    """Return what must be set before the stream starts, the pixel format first."""
    wanted: list[int] = []
    if options.fourcc is not None:
        wanted += [cv2.CAP_PROP_FOURCC, int.from_bytes(options.fourcc.encode(), "little")]
    for name, prop in _SIZES.items():
        if (value := getattr(options, name)) is not None:
            wanted += [prop, round(value)]
    return wanted


def _check(path: str) -> None:
    if not Path(path).exists():
        there = sorted(str(one) for one in Path("/dev").glob("video*"))
        seen = f"there are {', '.join(there)}" if there else "there is no camera here"
        raise SourceError(f"{path} does not exist: {seen}; is it plugged in?")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"{path} may not be read by this user: add the user to the group 'video' (sudo usermod "
            "-aG video $USER) and log in again"
        )


def _reason(path: str) -> str:
    users = _users(path)
    if users:
        return f"{path} is busy: {' and '.join(users)} has it open; end that program"
    return (
        f"{path} cannot be opened: it is used by another program, or it is no capture device "
        "('v4l2-ctl --list-devices' shows them)"
    )


def _users(path: str) -> list[str]:
    """Name other processes that have a device open, as far as this user may see."""
    device, own = os.path.realpath(path), str(os.getpid())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.path.realpath(link) for link in (process / "fd").iterdir()}
            if device in links and process.name != own:
                name = (process / "comm").read_text().strip()
                found.append(f"{name} (process {process.name})")
        except OSError:  # it has ended, or is another user's
            continue
    return found
