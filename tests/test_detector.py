from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.errors import ArtifactError, EdgeadError, ImageError, UsageError
from tests.conftest import part, write_photo

Make = Callable[..., Artifact]


def test_a_path_an_array_and_a_batch_give_the_same_score(tiny_artifact: Make) -> None:
    artifact = tiny_artifact()
    photos = [part(1, (70, 90)), part(2, (33, 47), defect=True), part(3, (200, 150))]
    path = write_photo(artifact.path.with_name("p.png"), photos[0])
    with EdgeDetector(artifact.path) as detect:
        single = [detect(photo) for photo in photos]
        batch = detect([*photos])
        assert detect(path).score == single[0].score
        assert detect(str(path)).score == single[0].score
    assert [d.score for d in batch] == [d.score for d in single]
    assert [d.photo_size for d in batch] == [(70, 90), (33, 47), (200, 150)]
    assert batch[0].timings.frames == 3


def test_a_grey_frame_is_scored_as_its_colour_copy(tiny_artifact: Make) -> None:
    grey = part(1)[..., 0]
    with EdgeDetector(tiny_artifact().path) as detect:
        assert detect(grey).score == detect(np.repeat(grey[..., None], 3, 2)).score


def test_the_threshold_is_the_artifacts_unless_given(tiny_artifact: Make) -> None:
    path, red = tiny_artifact().path, part(1, defect=True)
    with EdgeDetector(path) as detect:
        score = detect(red).score
        assert detect.threshold == 0.5
    with EdgeDetector(path, threshold=score - 0.01) as detect:
        assert detect(red).is_anomalous
    with EdgeDetector(path, threshold=score) as detect:
        assert not detect(red).is_anomalous
        detect.threshold = score - 0.01
        assert detect(red).is_anomalous
        with pytest.raises(UsageError, match="finite"):
            detect.threshold = float("inf")
        assert detect.threshold == score - 0.01
    with pytest.raises(UsageError, match="finite"):
        EdgeDetector(path, threshold=float("nan"))


def test_threads_may_share_a_detector(tiny_artifact: Make) -> None:
    photos = [part(seed, (60 + seed, 80)) for seed in range(8)]
    results: dict[int, list[float]] = {}
    with EdgeDetector(tiny_artifact().path) as detect:
        expected = [detect(photo).score for photo in photos]

        def work(worker: int) -> None:
            results[worker] = [detect(photo).score for photo in photos for _ in range(5)]

        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert all(scores[::5] == expected for scores in results.values())
    assert len(results) == 4


def test_a_closed_detector_an_empty_list_and_bad_frames_are_refused(tiny_artifact: Make) -> None:
    with EdgeDetector(tiny_artifact().path) as detect:
        with pytest.raises(EdgeadError, match="list is empty"):
            detect([])
        with pytest.raises(ImageError, match="frame 1 must hold uint8"):
            detect([part(0), part(0).astype(np.float32)])
        with pytest.raises(ImageError, match="cannot read"):
            detect("missing.png")
        with pytest.raises(ImageError, match=r"frame 0 is None: .*cv2\.imread"):
            detect(None)
        with pytest.raises(ImageError, match="the frame must be a NumPy array .* is a bytes"):
            detect(b"p.png")
    with pytest.raises(EdgeadError, match="not open"):
        detect(part(0))


def test_a_network_that_gives_no_finite_score_is_not_opened(tiny_artifact: Make) -> None:
    with pytest.raises(ArtifactError, match=r"tiny\.onnx .*not finite; export it again"):
        EdgeDetector(tiny_artifact(bias=float("inf")).path)


def test_a_stream_gives_what_calls_give_in_order(tiny_artifact: Make) -> None:
    photos = [part(seed, (60 + seed, 80), defect=seed % 2 == 1) for seed in range(6)]
    with EdgeDetector(tiny_artifact().path) as detect:
        expected = [detect(photo) for photo in photos]
        assert list(detect.stream(iter(photos))) == expected
        assert list(detect.stream([])) == []


def test_a_stream_takes_one_frame_ahead_and_leaves_no_thread(tiny_artifact: Make) -> None:
    taken: list[int] = []

    def camera() -> Iterator[np.ndarray]:
        for number in range(5):
            taken.append(number)
            yield part(number)

    before = threading.active_count()
    with EdgeDetector(tiny_artifact().path) as detect:
        stream = detect.stream(camera())
        next(stream)
        stream.close()
        assert len(taken) == 2
    assert threading.active_count() == before


def test_a_stream_ends_with_the_error_of_its_frame_or_its_source(tiny_artifact: Make) -> None:
    def lost() -> Iterator[np.ndarray]:
        yield part(0)
        raise OSError("the camera is gone")

    with EdgeDetector(tiny_artifact().path) as detect:
        scored = detect.stream([part(0), None])
        next(scored)
        with pytest.raises(ImageError, match="frame 1 is None"):
            next(scored)
        scored = detect.stream(lost())
        next(scored)
        with pytest.raises(OSError, match="the camera is gone"):
            next(scored)
