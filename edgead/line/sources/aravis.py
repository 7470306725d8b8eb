"""GigE Vision and USB3 Vision cameras (GenICam), through Aravis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from edgead import notices
from edgead.images import Image
from edgead.line.errors import SourceError
from edgead.line.sources.base import Grabbed, Source

_BUFFERS = 6
_MISSING = (
    "the source aravis needs the system's packages: sudo apt install gir1.2-aravis-0.8 python3-gi, "
    "and an environment that sees them: python3 -m venv --system-site-packages"
)
# OpenCV names a Bayer pattern by the second row's second and third pixel.
_COLOURS = {
    "Mono8": None,
    "BGR8": None,
    "RGB8": cv2.COLOR_RGB2BGR,
    "BayerRG8": cv2.COLOR_BayerBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGR2BGR,
    "BayerGR8": cv2.COLOR_BayerGB2BGR,
    "BayerBG8": cv2.COLOR_BayerRG2BGR,
}


@dataclass(frozen=True)
class AravisOptions:
    """A GenICam camera.

    Attributes:
        camera: Its name as ``arv-tool-0.8`` lists it, or its address; the first one where it is
            not given.
        width: Pixels; the whole sensor where they are not given.
        height: Pixels.
        pixel_format: As GenICam names it.
        fps: Frames a second.
        exposure: Microseconds; automatic where it is not given.
        gain: In the camera's unit, mostly dB.
        trigger: Line of the camera that starts each exposure, such as ``Line1``. Give the station
            a long ``stale_s`` then, because no frame comes while there is no part.
    """

    camera: str | None = None
    width: int | None = None
    height: int | None = None
    pixel_format: Literal[
        "Mono8", "BGR8", "RGB8", "BayerRG8", "BayerGB8", "BayerGR8", "BayerBG8"
    ] = "Mono8"
    fps: float | None = None
    exposure: float | None = None
    gain: float | None = None
    trigger: str | None = None

    def __post_init__(self) -> None:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together")


class Aravis(Source):
    """A GenICam camera."""

    Options = AravisOptions
    is_live = True

    def __init__(self, options: AravisOptions) -> None:
        super().__init__(options)
        self._camera: Any = None
        self._stream: Any = None
        self._frames = 0
        self._settings: dict[str, float | str] = {}

    def open(self) -> None:
        """Connect, set the format, lock exposure and gain, and start."""
        library = _library()
        name = self.options.camera
        # Without it a camera may be found at another network interface than it is reached by.
        library.update_device_list()
        try:
            self._camera = library.Camera.new(name)
            self._settings = self._set_up()
            self._stream = self._camera.create_stream(None, None)
            size = self._camera.get_payload()
            for _ in range(_BUFFERS):
                self._stream.push_buffer(library.Buffer.new_allocate(size))
            self._camera.start_acquisition()
        except _errors() as error:
            self.close()
            raise SourceError(
                f"{name or 'a GenICam camera'} cannot be opened ({error.message}): 'arv-tool-0.8' "
                "lists cameras; another program may control it"
            ) from error

    def _set_up(self) -> dict[str, float | str]:
        camera, options = self._camera, self.options
        camera.set_pixel_format_from_string(options.pixel_format)
        if options.width is not None:
            camera.set_region(0, 0, options.width, options.height)
        region = camera.get_region()
        settings: dict[str, float | str] = {
            "model": str(camera.get_model_name()),
            "pixel_format": options.pixel_format,
            "width": region.width,
            "height": region.height,
        }
        if options.trigger is not None:
            camera.set_trigger(options.trigger)
        elif options.fps is not None:
            camera.set_frame_rate(options.fps)
        for what in ("exposure", "gain"):
            settings[what] = self._lock(what)
        if options.exposure is None:
            notices.note("the exposure is not set: where it is automatic, scores move with it")
        return settings

    def _lock(self, what: str) -> float | str:
        """Set exposure or gain, read it back, and warn if it is another."""
        asked = getattr(self.options, what)
        if asked is None:
            return "not set"
        camera = self._camera
        name = "exposure_time" if what == "exposure" else what
        if getattr(camera, f"is_{what}_auto_available")():
            getattr(camera, f"set_{name}_auto")(0)  # ARV_AUTO_OFF
        getattr(camera, f"set_{name}")(asked)
        found = float(getattr(camera, f"get_{name}")())
        if abs(found - asked) > 0.01 * abs(asked):
            low, high = getattr(camera, f"get_{name}_bounds")()
            notices.warn(
                f"{camera.get_model_name()} has {what} {found:g}, not {asked:g} (it takes {low:g} "
                f"to {high:g})"
            )
        return found

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next complete frame; one with lost packets is passed over."""
        buffer = self._stream.timeout_pop_buffer(round(timeout_s * 1e6))
        if buffer is None:
            return None
        at = time.monotonic()
        try:
            if buffer.get_status() != 0:  # ARV_BUFFER_STATUS_SUCCESS
                return None
            picture = _picture(buffer, self.options.pixel_format)
        finally:
            self._stream.push_buffer(buffer)
        self._frames += 1
        return Grabbed(picture, at, f"frame {self._frames}")

    def close(self) -> None:
        """Stop, and release the camera."""
        camera, self._camera, self._stream = self._camera, None, None
        if camera is not None:
            try:
                camera.stop_acquisition()
            except _errors():  # it is gone, which is why it is closed
                return

    def settings(self) -> Mapping[str, float | str]:
        """Return model, format, size, exposure and gain."""
        return self._settings


def _picture(buffer: Any, pixel_format: str) -> Image:
    height, width = buffer.get_image_height(), buffer.get_image_width()
    pixels = np.frombuffer(buffer.get_data(), np.uint8)  # get_data copies
    channels = 3 if pixel_format in ("BGR8", "RGB8") else 1
    shape = (height, width, 3) if channels == 3 else (height, width)
    picture = pixels[: height * width * channels].reshape(shape)
    code = _COLOURS[pixel_format]
    return picture if code is None else np.asarray(cv2.cvtColor(picture, code), np.uint8)


def _library() -> Any:
    try:
        import gi

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis as Library
    except (ImportError, ValueError) as error:
        raise SourceError(_MISSING) from error
    return Library


def _errors() -> Any:
    from gi.repository import GLib

    return GLib.Error
