from __future__ import annotations

import pickle

import numpy as np
import pytest

from edgead.artifact import InputSpec, MapSpec
from edgead.detection import Detection, Timings
from edgead.errors import ImageError

INPUT = InputSpec(64, 64, "uint8", "NHWC", "BGR", "")
SPEC = MapSpec(8, 8, 0, 0, 64, 64)


def detection(peaks: dict[tuple[int, int], float], photo: tuple[int, int] = (64, 64)) -> Detection:
    values = np.zeros((8, 8), np.float32)
    for cell, value in peaks.items():
        values[cell] = value
    return Detection(float(values.max()), 0.5, values, photo, SPEC, INPUT, Timings(0, 0, 0))


def test_regions_are_listed_by_peak_with_their_place() -> None:
    first, second = detection({(1, 1): 0.8, (6, 5): 1.0}, (128, 128)).regions
    assert first.peak > second.peak
    x, y, width, height = first.box
    assert x <= first.peak_at[0] < x + width
    assert y <= first.peak_at[1] < y + height
    assert abs(first.peak_at[0] - 5.5 * 16) <= 8
    assert abs(first.peak_at[1] - 6.5 * 16) <= 8
    assert 0 < first.area <= width * height


def test_a_good_part_has_no_region_and_a_threshold_score_is_good() -> None:
    at_threshold = detection({(1, 1): 0.5})
    assert not at_threshold.is_anomalous
    assert at_threshold.regions == ()


def test_an_anomaly_has_a_region_even_on_a_photo_smaller_than_the_map() -> None:
    small = detection({(1, 1): 0.51}, (5, 5))
    assert small.is_anomalous
    assert len(small.regions) == 1


def test_overlay_colours_the_anomaly_and_leaves_the_rest() -> None:
    frame = np.full((64, 64, 3), 90, np.uint8)
    drawn = detection({(4, 4): 1.0}).overlay(frame)
    assert (drawn[:16, :16] == 90).all()
    assert np.abs(drawn[36, 36].astype(int) - 90).max() > 40
    assert (frame == 90).all()


def test_overlay_of_another_frame_is_refused() -> None:
    with pytest.raises(ImageError, match="32x32 px, but the photo scored was 64x64"):
        detection({}).overlay(np.zeros((32, 32, 3), np.uint8))


def test_a_map_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        Detection(0, 0, np.zeros((4, 4), np.float32), (8, 8), SPEC, INPUT, Timings(0, 0, 0))


@pytest.mark.parametrize("order", ["F", "planes", "mirrored"])
@pytest.mark.parametrize("peak", [0.2, 1.0], ids=["good", "anomalous"])
def test_an_overlay_is_drawn_on_frames_of_any_layout(order: str, peak: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    seen = {
        "F": np.asfortranarray(frame),
        "planes": np.moveaxis(np.ascontiguousarray(np.moveaxis(frame, 2, 0)), 0, 2),
        "mirrored": np.ascontiguousarray(frame[:, ::-1])[:, ::-1],
    }[order]
    scored = detection({(4, 4): peak})
    drawn = scored.overlay(seen)
    assert np.array_equal(drawn, scored.overlay(frame))
    assert drawn.flags.c_contiguous
    assert np.array_equal(seen, frame)


def test_detections_are_compared_by_value_and_survive_pickling() -> None:
    one = detection({(1, 1): 0.8})
    later = Detection(**{**vars(one), "timings": Timings(1, 2, 3)})
    assert one == later
    assert hash(one) == hash(later)
    assert one != detection({(1, 2): 0.8})
    assert one != "good"
    assert one.regions
    copy = pickle.loads(pickle.dumps(one))
    assert copy == one
    assert copy.regions == one.regions
    assert not copy.anomaly_map.flags.writeable


def test_a_detection_does_not_carry_its_batch_into_a_pickle() -> None:
    batch = np.zeros((500, 8, 8), np.float32)
    of_batch = Detection(0.0, 0.5, batch[3], (64, 64), SPEC, INPUT, Timings(0, 0, 0))
    assert len(pickle.dumps(of_batch)) < 5_000


def test_the_map_is_read_only_and_the_callers_array_is_not() -> None:
    values = np.zeros((8, 8), np.float32)
    found = Detection(0.0, 0.5, values, (64, 64), SPEC, INPUT, Timings(0, 0, 0))
    with pytest.raises(ValueError, match="read-only"):
        found.anomaly_map[0, 0] = 1
    values[0, 0] = 1


def test_a_detection_is_shown_on_one_short_line() -> None:
    shown = "Detection(anomalous, score=0.8000, threshold=0.5000, 64x64 px)"
    assert repr(detection({(1, 1): 0.8})) == shown


def test_json_holds_what_predict_writes() -> None:
    found = detection({(1, 1): 0.8}).to_json()
    assert list(found) == ["score", "threshold", "is_anomalous", "regions", "blank"]
    assert found["is_anomalous"] is True
    assert set(found["regions"][0]) == {"box", "area", "peak", "peak_at"}
