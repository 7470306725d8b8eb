"""The one class that an application on a device needs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.artifact import Manifest, read_artifact
from edgead.contrast import blank_cells
from edgead.detection import Detection, Timings
from edgead.errors import EdgeadError, ImageError, UsageError
from edgead.runtimes.base import Runtime, RuntimeInfo, RuntimeOptions
from edgead.runtimes.select import open_runtime

Frame: TypeAlias = npt.NDArray[Any] | str | os.PathLike[str]


class EdgeDetector:
    """Scores frames with an exported artifact.

    The same class, with the same scores, on every runtime. May be shared by threads, but not with
    processes forked afterwards: each of those opens its own. Opening runs the network once, to
    check what it gives.

    Args:
        path: The artifact (``.onnx``).
        runtime: ``"auto"`` takes the runtime that is expected to be fastest for the artifact, of
            those that can open it here; a name takes that one or fails.
        threshold: Overrides the artifact's own threshold.
        threads: Threads of one inference; ``None`` means one per physical core, within a
            container's CPU quota.
        precision: Arithmetic of the layers that are not INT8, ``"f32"``, ``"bf16"`` or ``"f16"``;
            ``None`` is what the scores were checked with. Less than that moves scores.
        hint: ``"latency"`` for one frame as soon as possible, ``"throughput"`` for most frames of
            several threads.

    Raises:
        ArtifactError: The file is not a usable artifact.
        RuntimeUnavailableError: No runtime, or not the one asked for, can open it here like that.

    Example:
        >>> from edgead import EdgeDetector
        >>> with EdgeDetector("bottle.onnx") as detect:  # doctest: +SKIP
        ...     detection = detect("photo.png")
        ...     print(detection.score, detection.is_anomalous, detection.regions)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        runtime: str = "auto",
        threshold: float | None = None,
        threads: int | None = None,
        *,
        precision: str | None = None,
        hint: str = "latency",
    ) -> None:
        _check_threshold(threshold)
        options = RuntimeOptions(threads=threads, precision=precision, hint=hint)
        selection = open_runtime(read_artifact(path), runtime, options)
        self._set_up(selection.runtime, threshold)
        self.passed_over: Mapping[str, str] = selection.passed_over

    @classmethod
    def with_settings(
        cls, path: str | os.PathLike[str], threshold: float | None = None
    ) -> EdgeDetector:
        """Open an artifact with the runtime and threads that were found best on this device.

        They are those that ``edgead bench --tune --save-settings`` wrote beside the artifact.

        Raises:
            UsageError: There is no settings file, or it is of another artifact or device.
        """
        from edgead.settings import Settings

        settings = Settings.read(path, read_artifact(path).sha256)
        return cls(path, settings.runtime, threshold, settings.threads)

    @classmethod
    def from_runtime(cls, runtime: Runtime, threshold: float | None = None) -> EdgeDetector:
        """Wrap a runtime that the caller made; it is opened here and closed with the detector."""
        _check_threshold(threshold)
        runtime.open()
        detector = cls.__new__(cls)
        detector._set_up(runtime, threshold)
        detector.passed_over = {}
        return detector

    def _set_up(self, runtime: Runtime, threshold: float | None) -> None:
        self._runtime = runtime
        self._threshold = self.manifest.threshold.value if threshold is None else float(threshold)

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself."""
        return self._runtime.artifact.manifest

    @property
    def threshold(self) -> float:
        """A score above it is called anomalous."""
        return self._threshold

    @property
    def runtime(self) -> RuntimeInfo:
        """What really runs; an error once the detector is closed."""
        return self._runtime.describe()

    @overload
    def __call__(self, frames: Frame) -> Detection: ...
    @overload
    def __call__(self, frames: list[Frame]) -> list[Detection]: ...
    def __call__(self, frames: Frame | list[Frame]) -> Detection | list[Detection]:
        """Score one frame, or a list of frames as one batch.

        Args:
            frames: A frame (uint8 ``[H, W, 3]`` BGR, ``[H, W]`` grey, or a path), or a list of
                them; sizes may differ.

        Returns:
            One detection, or one for each frame in the order given.

        Raises:
            ImageError: A frame cannot be read or is of the wrong shape or type.
            EdgeadError: The detector is closed or was opened before a fork, the list is empty, or
                the network gave something else than finite scores and maps of its manifest.
        """
        if isinstance(frames, (str, os.PathLike, np.ndarray)):
            return self._detect([frames])[0]
        if frames is None:
            raise ImageError(
                "there is no frame: the camera gave none, or cv2.imread could not read the file"
            )
        if isinstance(frames, bytes) or not isinstance(frames, Iterable):
            images.as_frame(frames)  # says what it is and what it must be
        return self._detect(list(frames))

    def _detect(self, frames: list[Frame]) -> list[Detection]:
        if not frames:
            raise EdgeadError("there are no frames to score: the list is empty")
        spec = self.manifest.input
        start = time.perf_counter()
        photos = [_load(frame, index) for index, frame in enumerate(frames)]
        resized = [images.resize(photo, spec.size) for photo in photos]
        batch = np.stack([images.as_bgr(photo) for photo in resized])
        least = self.manifest.training.least_contrast
        blank = [
            () if least is None else blank_cells(small, least, photo.shape[:2])
            for small, photo in zip(batch, photos, strict=True)
        ]
        loaded = time.perf_counter()
        output = self._runtime.infer(batch)
        inferred = time.perf_counter()
        scores = [float(score) for score in output.score]
        moved = output.transfers
        there, back = (moved.host_to_device_ms, moved.device_to_host_ms) if moved else (None, None)
        timings = Timings(
            preprocess_ms=(loaded - start) * 1e3,
            inference_ms=(inferred - loaded) * 1e3 - (there or 0.0) - (back or 0.0),
            postprocess_ms=(time.perf_counter() - inferred) * 1e3,
            frames=len(frames),
            host_to_device_ms=there,
            device_to_host_ms=back,
        )
        return [
            Detection(
                score=score,
                threshold=self._threshold,
                anomaly_map=anomaly_map,
                photo_size=(photo.shape[0], photo.shape[1]),
                map_spec=self.manifest.map,
                input_spec=spec,
                timings=timings,
                blank=cells,
            )
            for score, anomaly_map, photo, cells in zip(
                scores, output.anomaly_map, photos, blank, strict=True
            )
        ]

    def close(self) -> None:
        """Free memory and devices once all calls have ended; a call afterwards is an error."""
        self._runtime.close()

    def __enter__(self) -> EdgeDetector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_threshold(threshold: float | None) -> None:
    """Refuse a threshold that no score compares with, before a runtime is open."""
    if threshold is not None and not np.isfinite(float(threshold)):
        raise UsageError(f"the threshold must be a finite number, not {threshold}")


def open_detector(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    threshold: float | None = None,
    threads: int | None = None,
) -> EdgeDetector:
    """Open an artifact, or the run folder of a training (in torch, on a workstation).

    Raises:
        EdgeadError: As :class:`EdgeDetector`; for a run folder also when torch is missing or
            another runtime than torch is asked for.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path} does not exist; give an exported .onnx file or a run folder")
    if not path.is_dir():
        return EdgeDetector(path, runtime, threshold, threads)
    if runtime not in ("auto", "torch"):
        raise UsageError(
            f"{path} is a run folder, which only torch can open; export it first "
            f"(edgead export {path} --out exports) or leave out --runtime {runtime}"
        )
    from edgead.training.reference import TorchReference

    return EdgeDetector.from_runtime(TorchReference.from_run(path, threads), threshold)


def _load(frame: Frame, index: int) -> images.Image:
    if isinstance(frame, (str, os.PathLike)):
        return images.read_image(frame)
    return images.as_frame(frame, f"frame {index}")
