from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead.datasets import Dataset, read_mask
from edgead.errors import DataError
from studies.taught import cells, prepared, report
from studies.taught.__main__ import main

GROUPS = "file,group,role\n" + "".join(
    f"train/good/{n:03d}.jpg,{n // 2},{'test' if n < 4 else 'train'}\n" for n in range(20)
)


def test_no_group_is_in_train_and_test_of_a_draw(tmp_path: Path) -> None:
    csv = tmp_path / "groups.csv"
    csv.write_text(GROUPS)
    draws = prepared.by_group(csv)
    assert {Path(file).stem for file in draws[0].good} == {"000", "001", "002", "003"}
    for draw in draws:
        assert len(draw.good) == 4
        assert len(draw.train) == 16
        sides = [{int(Path(f).stem) // 2 for f in side} for side in (draw.train, draw.good)]
        assert not sides[0] & sides[1]
    assert len({frozenset(draw.good) for draw in draws}) == prepared.DRAWS


@pytest.fixture
def sets(tmp_path: Path, dataset: Path) -> Path:
    assert (
        main(["prepare", str(tmp_path / "sets"), f"parts={dataset}", "--image-size", "64x96"]) == 0
    )
    return tmp_path / "sets"


def test_a_prepared_set_has_the_photos_as_the_network_gets_them(
    sets: Path, dataset: Path, tmp_path: Path
) -> None:
    before, path = Dataset.from_folder(dataset), prepared.sets_in(sets)["parts"]
    draws = prepared.draws_of(path)
    laid = prepared.laid_out(path, draws[1], tmp_path / "laid")
    assert len(laid.train) == len(before.train)
    assert [(p.kind, p.path.stem) for p in laid.test] == [
        (p.kind, p.path.stem) for p in before.test
    ]
    photo = images.resize(images.read_image(before.train[0]), (64, 96))
    assert (images.read_image(laid.train[0]) == photo).all()
    marked = next(index for index, photo in enumerate(before.test) if photo.masks)
    whole = images.read_image(before.test[marked].path).shape[:2]
    mask = read_mask(before.test[marked], (whole[0], whole[1]))
    assert mask is not None
    small = cv2.resize(mask.astype(np.uint8), (96, 64), interpolation=cv2.INTER_NEAREST) > 0
    found = read_mask(laid.test[marked], (64, 96))
    assert found is not None
    assert (found == small).all()
    assert draws[0].train != draws[1].train


def test_all_photos_are_one_cell_where_draws_only_differ_in_order(sets: Path) -> None:
    plan = cells.planned(prepared.sets_in(sets), ["patchcore"], (1, 4, 999), (0, 1, 2))
    count = len(prepared.draws_of(sets / "parts")[0].train)
    assert [(c.photos, c.draw) for c in plan if c.is_all] == [(count, 0)]
    assert [c.photos for c in plan if not c.is_all] == [4, 4, 4, 1, 1, 1]


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    cell = cells.Cell("patchcore", "parts", 0, 4, False)
    for precision in cells.PRECISIONS:
        cells.append(file, cells.line(cell, precision, 1.0))
    assert cells.is_done(file, cell)
    file.write_text(file.read_text()[:-20])
    assert not cells.is_done(file, cell)


def test_the_table_has_mean_and_range_of_the_draws() -> None:
    found = [
        cells.line(
            cells.Cell("patchcore", "parts", draw, 4, False), precision, 1.0,
            refused="no" if draw and precision == "int8" else None,
            image_auroc=value, au_pro=None, good=10, false_alarms=draw,
        )
        for draw, value in ((0, 0.8), (1, 0.9))
        for precision in cells.PRECISIONS
    ]  # fmt: skip
    (row,) = report.markdown(found).splitlines()[2:]
    assert "0.8500 (0.800 to 0.900)" in row
    assert "| 5.0 % | 1 |" in row


def test_a_folder_that_was_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prepared set"):
        prepared.sets_in(tmp_path)
