"""The result of a detector for one photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import maps
from edgead.artifact.specs import InputSpec, MapSpec
from edgead.contrast import GRID, Blank
from edgead.errors import ImageError
from edgead.images import Image, as_bgr
from edgead.view import View, draw

_HEAT_OPACITY = 0.55
_OUTLINE_BGR = (255, 255, 255)
_BLANK_BGR = (0, 0, 255)


@dataclass(frozen=True)
class Region:
    """One connected area of a photo whose anomaly map is above the threshold.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the photo.
        area: Number of pixels.
        peak: Highest value of the map in the area.
        peak_at: ``(x, y)`` of that value.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float
    peak_at: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``predict --json``."""
        return {
            "box": list(self.box),
            "area": self.area,
            "peak": self.peak,
            "peak_at": list(self.peak_at),
        }


@dataclass(frozen=True)
class Timings:
    """Milliseconds that one call took, stage by stage; ``frames`` were processed together.

    The two transfers are ``None`` on a runtime that has nothing to copy, and never part of
    ``inference_ms``. ``windows`` is the number of pictures that the network saw of each frame.
    """

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    frames: int = 1
    host_to_device_ms: float | None = None
    device_to_host_ms: float | None = None
    windows: int = 1

    @property
    def total_ms(self) -> float:
        """The whole call."""
        transfers = (self.host_to_device_ms or 0.0) + (self.device_to_host_ms or 0.0)
        return self.preprocess_ms + self.inference_ms + transfers + self.postprocess_ms


@dataclass(frozen=True, eq=False)
class Detection:
    """The result for one photo.

    Two detections are equal when all their values are, but for the timings. They can be pickled.

    Attributes:
        score: The raw image score: the maximum of the anomaly map. Not clamped, and comparable
            only between photos scored by the same artifact.
        threshold: A photo with a score above it is anomalous.
        anomaly_map: float32 ``[h, w]`` at the network's own resolution, raw; read-only.
        photo_size: ``(height, width)`` of the photo in pixels.
        timings: Duration of each stage of the call.
        blank: Parts of the photo in which there is nothing to see, though there is in all good
            photos: a dead sensor, a covered lens, no light. Empty for a detector that was trained
            before edgead looked.
        view: What of the photo was judged.
    """

    score: float
    threshold: float
    anomaly_map: npt.NDArray[np.float32]
    photo_size: tuple[int, int]
    map_spec: MapSpec
    input_spec: InputSpec
    timings: Timings
    blank: tuple[Blank, ...] = ()
    view: View | None = None

    def __post_init__(self) -> None:
        expected = (self.map_spec.height, self.map_spec.width)
        if self.anomaly_map.shape != expected:
            raise ValueError(
                f"anomaly_map must have shape {expected}, but has {self.anomaly_map.shape}"
            )
        read_only = self.anomaly_map.view()
        read_only.flags.writeable = False
        object.__setattr__(self, "anomaly_map", read_only)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detection):
            return NotImplemented
        return self._compared() == other._compared() and np.array_equal(
            self.anomaly_map, other.anomaly_map
        )

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        specs = self.map_spec, self.input_spec, self.view
        return self.score, self.threshold, self.photo_size, self.blank, *specs

    def __repr__(self) -> str:
        verdict = "anomalous" if self.is_anomalous else "good"
        height, width = self.photo_size
        return (
            f"Detection({verdict}, score={self.score:.4f}, threshold={self.threshold:.4f}, "
            f"{width}x{height} px)"
        )

    def __getstate__(self) -> dict[str, Any]:
        # A view of a batch's maps would be pickled with the whole batch behind it.
        return {**self.__dict__, "anomaly_map": self.anomaly_map.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state["anomaly_map"].flags.writeable = False
        self.__dict__.update(state)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as ``edgead predict --json`` writes them for each photo."""
        return {
            "score": self.score,
            "threshold": self.threshold,
            "is_anomalous": self.is_anomalous,
            "regions": [region.to_json() for region in self.regions],
            "blank": [list(cell.box) for cell in self.blank],
        }

    @property
    def is_anomalous(self) -> bool:
        """Whether the score is above the threshold, or part of the photo is blank.

        A blank region may hide a defect.
        """
        return self.score > self.threshold or bool(self.blank)

    @property
    def doubt(self) -> str | None:
        """What is wrong with the photo itself, as a sentence, or ``None``."""
        if not self.blank:
            return None
        worst = min(self.blank, key=lambda cell: cell.contrast / cell.least)
        x, y, width, height = worst.box
        return (
            f"{len(self.blank)} of {GRID**2} image regions "
            f"{'has' if len(self.blank) == 1 else 'have'} almost no contrast (at x={x}, y={y}, "
            f"{width}x{height} px: {worst.contrast:.1f} grey levels; good photos have at least "
            f"{worst.least:.1f}): check camera, lens and light"
        )

    def heatmap(self) -> npt.NDArray[np.float32]:
        """Return the anomaly map at the photo's resolution, float32 ``[H, W]``, raw values.

        What is not judged has the lowest value of the map.
        """
        if self.view is not None and self.view.spec is not None:
            return self.view.heatmap(self.anomaly_map, self.map_spec, self.photo_size)
        return maps.to_photo(self.anomaly_map, self.map_spec, self.input_spec, self.photo_size)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The areas above the threshold, highest peak first; none for a good part."""
        if self.score <= self.threshold:
            return ()
        heat = self.heatmap()
        # On a photo smaller than the map, resampling can lower a peak under the threshold.
        above = (heat >= min(self.threshold, float(heat.max()))).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
        regions = []
        for label in range(1, count):
            x, y, width, height, area = (int(value) for value in stats[label])
            window = np.where(
                labels[y : y + height, x : x + width] == label,
                heat[y : y + height, x : x + width],
                -np.inf,
            )
            row, column = np.unravel_index(int(window.argmax()), window.shape)
            regions.append(
                Region(
                    box=(x, y, width, height),
                    area=area,
                    peak=float(window[row, column]),
                    peak_at=(x + int(column), y + int(row)),
                )
            )
        return tuple(sorted(regions, key=lambda region: -region.peak))

    def overlay(self, frame: npt.NDArray[Any]) -> Image:
        """Draw the heat map over the photo, with the regions outlined; and what is judged.

        Colour starts at half the threshold and is full at twice the threshold, so that pictures
        of one artifact can be compared with each other.

        Args:
            frame: The photo that was scored: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey.

        Returns:
            uint8 ``[H, W, 3]`` BGR.

        Raises:
            ImageError: The frame is none, or has another size than the photo that was scored.
        """
        image = as_bgr(frame)
        if image.shape[:2] != self.photo_size:
            raise ImageError(
                f"the frame is {image.shape[1]}x{image.shape[0]} px, but the photo scored was "
                f"{self.photo_size[1]}x{self.photo_size[0]} px; pass the same frame"
            )
        heat = self.heatmap()
        low, high = _colour_range(self.threshold)
        strength = np.clip((heat - low) / (high - low), 0, 1)
        colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        opacity = (_HEAT_OPACITY * np.minimum(1, 3 * strength))[..., None]
        thickness = max(1, round(max(self.photo_size) / 400))
        blended = np.asarray(image * (1 - opacity) + colours * opacity, np.uint8)
        if self.regions:
            above = (heat >= min(self.threshold, float(heat.max()))).astype(np.uint8)
            outlines, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(blended, outlines, -1, _OUTLINE_BGR, thickness, cv2.LINE_AA)
        if self.view is not None and self.view.spec is not None:
            blended = draw.outlined(blended, self.view)
        for cell in self.blank:
            x, y, width, height = cell.box
            corners = (x, y), (x + width - 1, y + height - 1)
            cv2.rectangle(blended, *corners, _BLANK_BGR, thickness)
            cv2.line(blended, *corners, _BLANK_BGR, thickness, cv2.LINE_AA)
        return blended


def _colour_range(threshold: float) -> tuple[float, float]:
    # A threshold at or below 0 is possible (scores are raw): keep the range's order and width.
    reach = max(abs(threshold), 1e-6)
    return threshold - 0.5 * reach, threshold + reach
