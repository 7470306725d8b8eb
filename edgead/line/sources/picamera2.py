"""Cameras of a Raspberry Pi (CSI), through picamera2 as its manual describes it.

Not tried on hardware. The Picamera2 Library, Raspberry Pi Ltd, chapters 4 to 6.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgead import notices
from edgead.line.errors import SourceError
from edgead.line.sources.base import Grabbed, Source

_MISSING = (
    "the source picamera2 needs Raspberry Pi OS's package: sudo apt install python3-picamera2, and "
    "make the environment with: python3 -m venv --system-site-packages"
)


@dataclass(frozen=True)
class Picamera2Options:
    """A CSI camera.

    Attributes:
        camera: Its number.
        width: Pixels.
        height: Pixels.
        fps: Frames a second.
        exposure: Microseconds; automatic where it is not given.
        gain: Analogue gain; with ``exposure``.
        red_gain: White balance; with ``blue_gain``. Automatic where they are not given.
        blue_gain: White balance.
    """

    camera: int = 0
    width: int = 1280
    height: int = 720
    fps: float = 30.0
    exposure: int | None = None
    gain: float = 1.0
    red_gain: float | None = None
    blue_gain: float | None = None

    def __post_init__(self) -> None:
        if (self.red_gain is None) != (self.blue_gain is None):
            raise ValueError("red_gain and blue_gain belong together")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000, not {self.fps:g}")


class Picamera2(Source):
    """A CSI camera."""

    Options = Picamera2Options
    is_live = True

    def __init__(self, options: Picamera2Options) -> None:
        super().__init__(options)
        self._camera: Any = None
        self._frames = 0

    def open(self) -> None:
        """Configure the camera for video, and lock what is given."""
        try:
            from picamera2 import Picamera2 as Library
        except ImportError as error:
            raise SourceError(_MISSING) from error
        options = self.options
        try:
            camera = Library(options.camera)
        except (IndexError, RuntimeError) as error:
            raise SourceError(
                f"CSI camera {options.camera} cannot be opened ({error}): 'rpicam-hello "
                "--list-cameras' shows those that are there; another program may use it"
            ) from error
        self._camera = camera
        size = (options.width, options.height)
        # "RGB888" of libcamera is BGR in memory, as OpenCV has it.
        configuration = camera.create_video_configuration(
            main={"size": size, "format": "RGB888"}, controls=_controls(options)
        )
        camera.configure(configuration)
        found = tuple(camera.camera_configuration()["main"]["size"])
        if found != size:
            notices.warn(f"CSI camera {options.camera} has {found[0]}x{found[1]} px, not {size}")
        if options.exposure is None:
            notices.note(
                f"the exposure of CSI camera {options.camera} is automatic: scores move with it; "
                "set exposure, gain, red_gain and blue_gain"
            )
        camera.start()

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame."""
        job = self._camera.capture_array("main", wait=False)
        try:
            picture = self._camera.wait(job, timeout=2.0)
        except TimeoutError as error:
            raise SourceError(f"CSI camera {self.options.camera} gives no frames") from error
        self._frames += 1
        return Grabbed(picture, time.monotonic(), f"frame {self._frames}")

    def close(self) -> None:
        """Release the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def settings(self) -> Mapping[str, float | str]:
        """Return the size, and what is locked."""
        width, height = self._camera.camera_configuration()["main"]["size"]
        locked = {name: str(value) for name, value in _controls(self.options).items()}
        return {"width": width, "height": height, **locked}


def _controls(options: Picamera2Options) -> dict[str, Any]:
    """Return libcamera's controls (appendix C of the manual)."""
    frame_us = round(1e6 / options.fps)
    controls: dict[str, Any] = {"FrameDurationLimits": (frame_us, frame_us)}
    if options.exposure is not None:
        controls |= {
            "AeEnable": False,
            "ExposureTime": options.exposure,
            "AnalogueGain": options.gain,
        }
    if options.red_gain is not None:
        controls |= {"AwbEnable": False, "ColourGains": (options.red_gain, options.blue_gain)}
    return controls
