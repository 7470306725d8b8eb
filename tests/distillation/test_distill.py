"""Distilling a teacher from a source network that is simple enough to know what it must learn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgead.distillation import DistillConfig, distill_teacher
from edgead.distillation.cells import to_cells
from edgead.distillation.changes import Changes
from edgead.distillation.sources import Source
from edgead.distillation.views import Views, centre, shrunk
from edgead.distillation.write import described
from edgead.errors import DataError, EdgeadError, UsageError
from edgead.networks.pdn import PDN
from edgead.teachers.pdn import load_pdn_teacher
from tests import graphs


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(420):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:03}.png"), cv2.resize(coarse, (64, 64)))
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.source_network(tmp_path_factory.mktemp("source") / "source.onnx")


@pytest.mark.parametrize(("size", "side", "centre"), [("n", 8, 19), ("s", 4, 16.5)])
def test_a_window_comes_with_the_features_of_the_pixels_that_the_teacher_sees_there(
    tmp_path: Path, size: str, side: int, centre: float
) -> None:
    """Each view is a ramp, so a pixel's value says where it is; so does the source's feature."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)

    def column(views: np.ndarray) -> np.ndarray:
        cells = np.arange(64, dtype=np.float32) * 4 + 1.5
        return np.broadcast_to(cells, (len(views), 384, 64, 64)).copy()

    config = DistillConfig(tmp_path, tmp_path, size, views=1, window=96)
    views = Views([tmp_path / "ramp.png"], config, Source(256, column), tmp_path)
    pixels, features = views.windows([0] * 8, np.random.default_rng(0))
    first_pixel = pixels[:, 0, 0, 0].numpy()
    assert len(set(first_pixel.tolist())) > 2
    seen = first_pixel + centre + side * np.arange(features.shape[-1])[:, None]
    half_a_source_cell = 2
    assert np.abs(features[:, 0, 0].numpy() - seen.T).max() <= half_a_source_cell


def test_a_distilled_teacher_knows_its_source_and_says_how_it_was_made(
    tmp_path: Path, source: Path, photos: Path
) -> None:
    out = tmp_path / "teacher.safetensors"
    config = DistillConfig(
        source, photos, "n", steps=60, batch_size=8, window=96, views=1, licence="CC0"
    )
    error = distill_teacher(config, out)
    assert error < 0.5
    lines = out.with_suffix(".jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"step": 60, "validation": error}
    network = PDN("n", 384)
    spec = load_pdn_teacher(network, "n", str(out))
    assert spec.licence == "CC0"
    assert spec.source == "distilled from source.onnx"
    assert spec.images == "420 photos, 1 view(s) of each"
    assert spec.recipe is not None
    assert "60 steps of 8 windows of 96 px" in spec.recipe
    assert spec.validation is not None
    assert spec.date is not None
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 384, 28, 28)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("window", "message"), [(300, "larger than a view"), (20, "too small for efficientad-n")]
)
def test_windows_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, source: Path, photos: Path, window: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        distill_teacher(
            DistillConfig(source, photos, "n", window=window), tmp_path / "t.safetensors"
        )


def test_a_name_that_no_training_would_read_is_refused(tmp_path: Path, source: Path) -> None:
    for name in ("teacher", "teacher.pt", "teacher.jsonl"):
        with pytest.raises(UsageError, match=r"a teacher's file is \.safetensors"):
            distill_teacher(DistillConfig(source, tmp_path, "n"), tmp_path / name)


def test_too_few_photos_are_refused_with_the_number_needed(tmp_path: Path, source: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="has 1 images, but distilling a teacher takes at least 4"):
        distill_teacher(DistillConfig(source, tmp_path, "n"), tmp_path / "t.safetensors")


def test_random_views_are_those_of_older_teachers_unless_changes_are_asked_for(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(4)
    photo = rng.integers(0, 256, (256, 300, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)

    def crops(**shares: float) -> list[np.ndarray]:
        config = DistillConfig(tmp_path, tmp_path, "n", views=12, changes=Changes(**shares))
        made = Views([tmp_path / "photo.png"], config, Source(256, constant), tmp_path)
        return [made.get([view])[0][0].numpy() for view in range(12)]

    expected = [photo[:, 22:278]]
    for view in range(1, 12):
        draws = np.random.default_rng([0, 7, view])
        draws.integers(1)
        left = int(draws.integers(45))
        crop = photo[:, left : left + 256]
        if draws.random() < 0.5:
            crop = crop[:, ::-1]
        if draws.random() < 0.2:
            grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_BGR2GRAY)
            crop = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        expected.append(crop)
    for found, wanted in zip(crops(), expected, strict=True):
        assert (found == wanted).all()
    turned = crops(turn=1)
    assert (turned[0] == expected[0]).all()
    assert not any((a == b).all() for a, b in zip(turned[1:], expected[1:], strict=True))


def constant(views: np.ndarray) -> np.ndarray:
    return np.ones((len(views), 384, 64, 64), np.float32)


def test_provenance_says_how_random_views_were_changed() -> None:
    config = DistillConfig(Path("s"), Path("p"), "n", changes=Changes(grey=0, light=0.125))
    assert described(config) == "; of the random ones grey 0 %, light 12.5 %, blur 0 %, turn 0 %"
    assert described(dataclasses.replace(config, views=1)) == ""


@pytest.mark.parametrize("cells", [33, 50, 60])
def test_a_source_whose_cells_do_not_fit_is_refused(cells: int) -> None:
    with pytest.raises(EdgeadError, match="does not divide into efficientad-n's cells of 8 pixels"):
        to_cells("n", (1, 384, cells, cells))


def test_the_middle_of_a_photo_is_looked_at() -> None:
    photo = np.zeros((20, 60, 3), np.uint8)
    photo[:, 20:40] = 200
    small = shrunk(photo, 10)
    assert small.shape == (10, 30, 3)
    assert (centre(small, 10) == 200).all()
