"""The one class that an application on a device needs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from edgead import images, notices
from edgead.artifact import Artifact, Manifest, read_artifact
from edgead.contrast import Blank, blank_cells
from edgead.detection import Detection, Timings
from edgead.errors import EdgeadError, ImageError, UsageError
from edgead.runtimes.base import RawOutput, Runtime, RuntimeInfo, RuntimeOptions
from edgead.runtimes.select import open_runtime
from edgead.view import View

Frame: TypeAlias = npt.NDArray[Any] | str | os.PathLike[str]


@dataclass(frozen=True)
class _Prepared:
    """The windows of frames, and what is known of the frames before the network has run."""

    batch: npt.NDArray[np.uint8]
    sizes: Sequence[tuple[int, int]]
    blank: Sequence[tuple[Blank, ...]]
    milliseconds: float


class EdgeDetector:
    """Scores frames with an exported artifact.

    The same class, with the same scores, on every runtime. May be shared by threads, but not with
    processes forked afterwards: each of those opens its own. Opening runs the network once, to
    check what it gives.

    Args:
        path: The artifact (``.onnx``).
        runtime: ``"auto"`` takes the runtime that is expected to be fastest for the artifact, of
            those that can open it here; a name takes that one or fails.
        threshold: Overrides the artifact's own threshold; :attr:`threshold` can be set later, too.
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
        *,
        threshold: float | None = None,
        threads: int | None = None,
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
        cls, path: str | os.PathLike[str], *, threshold: float | None = None
    ) -> EdgeDetector:
        """Open an artifact with the runtime and threads that were found best on this device.

        They are those that ``edgead bench --tune --save-settings`` wrote beside the artifact.

        Raises:
            UsageError: There is no settings file, or it is of another artifact or device.
        """
        from edgead.settings import Settings

        settings = Settings.read(path, read_artifact(path).sha256)
        return cls(path, settings.runtime, threshold=threshold, threads=settings.threads)

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
        self._view = View.of(self.manifest)
        self._has_warned = False
        self._threshold = self.manifest.threshold.value if threshold is None else float(threshold)

    @property
    def artifact(self) -> Artifact:
        """The file in use: its path, seal and manifest."""
        return self._runtime.artifact

    @property
    def manifest(self) -> Manifest:
        """The manifest of the artifact."""
        return self._runtime.artifact.manifest

    @property
    def view(self) -> View:
        """What of a frame the detector sees: crop, mask and tiles of the artifact."""
        return self._view

    @property
    def threshold(self) -> float:
        """A photo with a score above it is anomalous. Set it to any finite number."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        _check_threshold(value)
        self._threshold = float(value)

    @property
    def runtime(self) -> RuntimeInfo:
        """The runtime, device and threads in use; an error once the detector is closed."""
        return self._runtime.describe()

    # A str is a path here, though it is a sequence of str as well.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, frames: Frame
    ) -> Detection: ...
    @overload
    def __call__(self, frames: Sequence[Frame]) -> list[Detection]: ...
    def __call__(self, frames: Frame | Sequence[Frame]) -> Detection | list[Detection]:
        """Score one frame, or a sequence of frames as one batch.

        Args:
            frames: A frame (uint8 ``[H, W, 3]`` BGR, ``[H, W]`` grey, or a path), or a sequence of
                them; sizes may differ.

        Returns:
            One detection, or one for each frame in the order given.

        Raises:
            ImageError: A frame cannot be read or is of the wrong shape or type.
            EdgeadError: The detector is closed or was opened before a fork, the list is empty, or
                the network gave something else than finite scores and maps of its manifest.
        """
        if frames is None or isinstance(frames, (str, os.PathLike, np.ndarray)):
            return self._detect([frames])[0]
        if isinstance(frames, bytes) or not isinstance(frames, Iterable):
            images.as_frame(frames)  # says what it is and what it must be
        return self._detect(list(frames))

    def stream(self, frames: Iterable[Frame]) -> Iterator[Detection]:
        """Score frames one by one, and prepare the next frame while the network runs.

        One frame is taken from ``frames`` ahead of time, in a thread of its own. So a live camera's
        frame is older by up to one inference; in exchange, more frames are scored per second
        (docs/how-to/line.md).

        Args:
            frames: Frames as a call takes them, such as a generator that reads a camera.

        Yields:
            One detection for each frame, in order.

        Raises:
            ImageError: A frame cannot be read or is of the wrong shape or type.
            EdgeadError: As a call. Whatever ``frames`` raises is raised here, too.
        """
        source = enumerate(frames)
        with ThreadPoolExecutor(1, "edgead-prepare") as worker:
            waiting = worker.submit(self._prepare_next, source)
            while (prepared := waiting.result()) is not None:
                waiting = worker.submit(self._prepare_next, source)
                yield self._score(prepared)[0]

    def _prepare_next(self, source: Iterator[tuple[int, Frame]]) -> _Prepared | None:
        for index, frame in source:
            return self._prepare([frame], index)
        return None

    def _detect(self, frames: Sequence[Frame]) -> list[Detection]:
        if not frames:
            raise EdgeadError("there are no frames to score: the list is empty")
        return self._score(self._prepare(frames))

    def _prepare(self, frames: Sequence[Frame], first: int = 0) -> _Prepared:
        start = time.perf_counter()
        view = self._view
        photos = [_load(frame, index) for index, frame in enumerate(frames, first)]
        sizes = [(photo.shape[0], photo.shape[1]) for photo in photos]
        canvases = [view.prepare(photo) for photo in photos]
        least = self.manifest.training.least_contrast
        blank = [
            () if least is None else blank_cells(canvas, least, size, view)
            for canvas, size in zip(canvases, sizes, strict=True)
        ]
        cut = [view.windows(canvas) for canvas in canvases]
        batch = cut[0] if len(cut) == 1 else np.concatenate(cut)
        if len(cut) == 1 and np.may_share_memory(batch, photos[0]):
            batch = batch.copy()  # a camera may write its next frame there
        self._warn_of_aspect(sizes)
        return _Prepared(batch, sizes, blank, (time.perf_counter() - start) * 1e3)

    def _warn_of_aspect(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Warn once of frames that a crop, a mask or tiles do not fit."""
        if self._has_warned:
            return
        for height, width in sizes:
            if self._view.differs((height, width)):
                self._has_warned = True
                assert self._view.spec is not None
                notices.warn(
                    f"a frame has {width}x{height} px, an aspect ratio of {width / height:.3f}, "
                    f"but {self._runtime.artifact.path} was made for {self._view.spec.aspect:.3f}: "
                    "its crop, mask and tiles lie elsewhere in such a frame; use frames as in "
                    "training"
                )
                return

    def _score(self, prepared: _Prepared) -> list[Detection]:
        start = time.perf_counter()
        is_plain = self._view.spec is None
        infer = self._runtime.infer if is_plain else self._runtime.infer_in_batches
        output = infer(prepared.batch)
        inferred = time.perf_counter()
        moved = output.transfers
        there, back = (moved.host_to_device_ms, moved.device_to_host_ms) if moved else (None, None)
        joined = self._joined(output)
        timings = Timings(
            preprocess_ms=prepared.milliseconds,
            inference_ms=(inferred - start) * 1e3 - (there or 0.0) - (back or 0.0),
            postprocess_ms=(time.perf_counter() - inferred) * 1e3,
            frames=len(joined),
            host_to_device_ms=there,
            device_to_host_ms=back,
            windows=len(prepared.batch) // len(joined),
        )
        cells = self._view.map_spec(self.manifest.map)
        return [
            Detection(
                score=score,
                threshold=self._threshold,
                anomaly_map=anomaly_map,
                photo_size=size,
                map_spec=cells,
                input_spec=self.manifest.input,
                timings=timings,
                blank=blank,
                view=self._view,
            )
            for (score, anomaly_map), size, blank in zip(
                joined, prepared.sizes, prepared.blank, strict=True
            )
        ]

    def _joined(self, output: RawOutput) -> list[tuple[float, npt.NDArray[np.float32]]]:
        """Return score and map of each frame."""
        view, maps = self._view, output.anomaly_map
        if view.spec is None:
            return list(zip(map(float, output.score), maps, strict=True))
        each = len(view.places)
        frames = (maps[at : at + each] for at in range(0, len(maps), each))
        found = [view.join(frame, self.manifest.map) for frame in frames]
        return [(score, anomaly_map) for anomaly_map, score in found]

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
        return EdgeDetector(path, runtime, threshold=threshold, threads=threads)
    if runtime not in ("auto", "torch"):
        raise UsageError(
            f"{path} is a run folder, and only torch can open run folders: export it first (edgead "
            f"export {path} --out exports), or leave out --runtime {runtime}"
        )
    from edgead.training.reference import TorchReference

    return EdgeDetector.from_runtime(TorchReference.from_run(path, threads), threshold)


def _load(frame: Frame | None, index: int) -> images.Image:
    if frame is None:
        raise ImageError(
            f"frame {index} is None: the camera returned no frame, or cv2.imread could not read a "
            "file"
        )
    if isinstance(frame, (str, os.PathLike)):
        return images.read_image(frame)
    return images.as_frame(frame, f"frame {index}")
