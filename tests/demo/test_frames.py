from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead.datasets import Dataset, read_mask
from edgead.demo import frames
from edgead.demo.frames import FrameCounts, write_frames
from edgead.demo.station import CROP, KINDS, Defect, Station
from edgead.errors import UsageError


@pytest.fixture(scope="module")
def station() -> Station:
    return Station(800)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", [10, 20, 40])
def test_a_mask_has_the_size_that_was_asked_for_and_covers_what_changed(
    station: Station, kind: str, pixels: int
) -> None:
    good, empty = station.frame(np.random.default_rng(pixels))
    photo, mask = station.frame(np.random.default_rng(pixels), Defect(kind, pixels, (400, 120)))
    assert not empty.any()
    rows, columns = np.nonzero(mask)
    corners = cv2.minAreaRect(np.column_stack([columns, rows]).astype(np.float32))
    assert 0.75 * pixels <= max(corners[1]) + 1 <= 1.15 * pixels
    assert np.hypot(columns.mean() - 400, rows.mean() - 120) < 0.1 * pixels + 1
    changed = np.abs(photo.astype(int) - good).max(-1)
    assert np.median(changed[mask > 0]) > 8
    near = cv2.dilate(mask, np.ones((5, 5))) > 0
    assert changed[~near].max() <= 4


def test_what_nobody_should_judge_is_outside_of_crop_and_mask(station: Station) -> None:
    height, width = station.size
    left, top, wide, high = CROP
    is_judged = station.ignored() == 0
    is_judged[: round(top * height)] = is_judged[round((top + high) * height) :] = False
    is_judged[:, : round(left * width)] = is_judged[:, round((left + wide) * width) :] = False
    assert is_judged.mean() > 0.5
    for seed in range(6):
        one, other = (
            station.frame(
                np.random.default_rng(seed), None, np.random.default_rng(100 * seed + add)
            )[0]
            for add in (1, 2)
        )
        difference = np.abs(one.astype(int) - other).max(-1)
        assert difference[is_judged].max() == 0
        assert difference[~is_judged].mean() > 8


def test_a_seed_gives_the_same_data_set(tmp_path: Path) -> None:
    written = []
    for name, seed in (("one", 4), ("same", 4), ("other", 5)):
        root = write_frames(tmp_path / name, 400, (6, 12), FrameCounts(2, 1, 4), seed)
        found = {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")}
        written.append(found)
    assert written[0] == written[1]
    assert written[0].keys() == written[2].keys()
    photos = [name for name in written[0] if name.suffix == ".jpg"]
    assert all(written[0][name] != written[2][name] for name in photos)
    assert len({written[0][name] for name in photos}) == len(photos) == 3 + 2 * 4
    dataset = Dataset.from_folder(tmp_path / "one/photos")
    assert (len(dataset.train), len(dataset.test)) == (2, 1 + 8)
    for photo in dataset.test:
        mask = read_mask(photo, (300, 400))
        assert (mask is not None and mask.any()) == photo.kind.startswith("defect-")
    assert images.read_image(tmp_path / "one" / "mask.png").shape == (300, 400, 3)


def test_what_cannot_be_rendered_is_refused(
    tmp_path: Path, station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    assert frames.main([str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert frames.main([str(tmp_path / "new"), "--width", "402"]) == 2
    assert "multiple of 8 from 400 on, not 402" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="unknown defect 'dent'; choose of: pit, scratch"):
        Defect("dent", 10)
    with pytest.raises(UsageError, match="leaves the frame"):
        station.frame(rng, Defect("pit", 20, (5, 100)))
    with pytest.raises(UsageError, match="no room on the plate for a defect of 400 px"):
        station.frame(rng, Defect("pit", 400))
