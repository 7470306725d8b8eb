"""Distilling a teacher from a source network that is simple enough to know what it must learn."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgead.errors import DataError, UsageError
from edgead.models._pdn import PDN
from edgead.teachers.distill import DistillConfig, _Views, distill_teacher
from edgead.teachers.pdn import load_pdn_teacher
from edgead.teachers.sources import Source


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
    """Return a network whose 384 features of a 4 px cell are mixtures of its mean colour."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(384, 3, 1, 1)).repeat(4, 2).repeat(4, 3).astype(np.float32) / 16
    node = helper.make_node("Conv", ["image", "weights"], ["features"], strides=[4, 4])
    graph = helper.make_graph(
        [node],
        "source",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 256, 256])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 384, 64, 64])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("source") / "source.onnx"
    onnx.save(model, path)
    return path


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
    views = _Views([tmp_path / "ramp.png"], config, Source(256, column), tmp_path)
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
    assert not list(tmp_path.glob(".distill-*"))


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
