"""Crop, mask and tiles: what the network sees of a frame, and what comes back from it."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import EdgeDetector, resizing
from edgead.artifact import Artifact, Manifest, MapSpec, ViewSpec, read_artifact, write_artifact
from edgead.errors import ArtifactError, DataError, ImageError, UsageError
from edgead.view import View, ViewRequest, masks
from tests.conftest import manifest_for, tiny_model

Viewed = Callable[[ViewSpec | None], Path]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def picture(path: Path, mask: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), np.rint(mask * 255.0).astype(np.uint8))
    return path


@pytest.fixture
def viewed(tmp_path: Path) -> Viewed:
    """Write the artifact whose score is how red the reddest 4x4 cell is, with a view."""

    def write(spec: ViewSpec | None) -> Path:
        manifest = manifest_for(32, 32, (8, 8)).replace(view=spec)
        return write_artifact(tmp_path / "viewed.onnx", tiny_model(), manifest).path

    return write


def test_windows_are_parts_of_one_resized_frame() -> None:
    frame = noise(200, 300)
    spec = ViewRequest(tiles=(2, 3)).resolve((200, 300), (32, 32))
    view = View((32, 32), spec=spec)
    canvas = view.prepare(frame)
    assert canvas.shape == (48, 64, 3)  # half of a window is shared, as it is so small
    assert (canvas == resizing.resize(frame, (48, 64), resizing.HALVED)).all()
    windows = view.windows(canvas)
    assert windows.shape == (6, 32, 32, 3)
    assert (windows[4] == canvas[16:48, 16:48]).all()
    assert view.boxes((200, 300))[0] == (0, 0, 150, 133)
    assert view.boxes((200, 300))[-1] == (150, 67, 150, 133)


@pytest.mark.parametrize(("border", "count"), [(0.0, 4), (4.0, 6)])
def test_a_joined_map_of_planes_is_that_plane(border: float, count: int) -> None:
    """With the border that unpadded convolutions leave, too: each cell keeps its place."""
    view = View((32, 32), spec=ViewSpec(1.5, rows=2, columns=3, overlap=16))
    cells = MapSpec(count, count, border, border, 32 - border, 32 - border)
    pitch = (32 - 2 * border) / count
    inside = border + (np.arange(count) + 0.5) * pitch
    maps = [
        (16 * row + inside)[:, None] + 100 * (16 * column + inside)[None]
        for row, column in view.places
    ]
    joined, score = view.join(np.array(maps, np.float32), cells)
    spec = view.map_spec(cells)
    down = spec.top + (np.arange(spec.height) + 0.5) * (spec.bottom - spec.top) / spec.height
    across = spec.left + (np.arange(spec.width) + 0.5) * (spec.right - spec.left) / spec.width
    assert (spec.bottom, spec.right) == (48 - border, 64 - border)
    np.testing.assert_allclose(joined, down[:, None] + 100 * across[None], rtol=1e-5)
    assert score == joined.max()


def test_a_mark_comes_back_at_its_place_in_the_frame(viewed: Viewed) -> None:
    frame = np.full((120, 180, 3), 90, np.uint8)
    frame[68:78, 128:138] = (0, 0, 255)
    spec = ViewRequest(crop=(0.25, 0.25, 0.75, 0.75), tiles=(2, 3)).resolve((120, 180), (32, 32))
    with EdgeDetector(viewed(spec)) as detect:
        found = detect(frame)
        pair = detect([frame, frame])
        plain = detect(frame[:, :, ::-1].copy())
    assert found.is_anomalous
    assert not plain.is_anomalous
    (region,) = found.regions
    x, y = region.peak_at
    assert abs(x - 133) < 4
    assert abs(y - 73) < 4
    assert found.timings.windows == 6
    heat = found.heatmap()
    assert heat.shape == (120, 180)
    assert (heat[:30] == heat.min()).all()
    assert (heat[:, :45] == heat.min()).all()  # outside
    assert pair == [found, found]
    assert pickle.loads(pickle.dumps(found)) == found
    assert found.overlay(frame).shape == frame.shape


def test_tiles_see_what_one_window_does_not(viewed: Viewed) -> None:
    frame = np.full((320, 320, 3), 90, np.uint8)
    frame[100:108, 200:208] = (0, 0, 255)
    with EdgeDetector(viewed(None)) as detect:
        whole = detect(frame).score
    spec = ViewRequest(tile_size=40).resolve((320, 320), (32, 32))
    with EdgeDetector(viewed(spec)) as detect:
        assert detect(frame).score > 5 * max(whole, 0.01)


@pytest.mark.parametrize("size", [(120, 180), (121, 187), (57, 64), (32, 32), (20, 23), (300, 33)])
@pytest.mark.parametrize("is_grey", [False, True])
def test_what_is_masked_changes_nothing(
    tmp_path: Path, size: tuple[int, int], is_grey: bool
) -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros(size, bool)
    mask[: size[0] // 3, size[1] // 4 :] = True
    mask[-1, :2] = True
    request = ViewRequest(mask=picture(tmp_path / "mask.png", mask), keeps_aspect=size[0] > 290)
    view = View((32, 32), spec=request.resolve(size, (32, 32)))
    frame = noise(*size)[..., 0] if is_grey else noise(*size)
    before = frame.copy()
    other = frame.copy()
    other[mask] = rng.integers(0, 256, other[mask].shape)
    assert (view.prepare(frame) == view.prepare(other)).all()
    assert (frame == before).all()  # the caller's array
    unmasked = View((32, 32), spec=dataclasses.replace(view.spec, mask=None) if view.spec else None)
    assert view.ignored is not None
    judged = ~view.ignored
    assert judged.any()
    assert (view.prepare(frame)[judged] == unmasked.prepare(frame)[judged]).all()


def test_a_masked_defect_is_not_found_and_scores_stay(viewed: Viewed, tmp_path: Path) -> None:
    frame = np.full((120, 120, 3), 90, np.uint8)
    mask = np.zeros((120, 120), bool)
    mask[:, :40] = True
    marked = frame.copy()
    marked[50:70, 5:30] = (0, 0, 255)
    request = ViewRequest(mask=picture(tmp_path / "mask.png", mask), tiles=(2, 2))
    with EdgeDetector(viewed(request.resolve((120, 120), (32, 32)))) as detect:
        assert detect(marked) == detect(frame)
        marked[50:70, 80:100] = (0, 0, 255)
        found = detect(marked)
    (region,) = found.regions
    assert region.box[0] > 70


def test_windows_without_anything_to_judge_are_left_out(tmp_path: Path) -> None:
    mask = np.zeros((120, 240), bool)
    mask[:, :130] = True
    request = ViewRequest(mask=picture(tmp_path / "mask.png", mask), tiles=(1, 3))
    view = View((32, 32), spec=request.resolve((120, 240), (32, 32)))
    assert view.places == ((0, 1), (0, 2))
    assert len(view.windows(view.prepare(noise(120, 240)))) == 2


def test_a_kept_aspect_leaves_a_border_that_is_not_judged() -> None:
    spec = ViewRequest(keeps_aspect=True).resolve((60, 120), (32, 32))
    view = View((32, 32), spec=spec)
    assert view.content == (0, 8, 32, 16)
    canvas = view.prepare(noise(60, 120))
    assert (canvas[:8] == 128).all()
    assert (canvas[24:] == 128).all()
    judged = view.judged_cells(MapSpec(8, 8, 0.0, 0.0, 32.0, 32.0))
    assert judged is not None
    assert judged[2:6].all()
    assert not judged[:2].any()
    assert not judged[6:].any()
    cells = view.map_spec(MapSpec(8, 8, 0.0, 0.0, 32.0, 32.0))
    marked = np.zeros((8, 8), np.float32)
    marked[2, 0] = marked[5, 7] = 1
    heat = view.heatmap(marked, cells, (60, 120))
    assert heat.shape == (60, 120)
    assert (heat[0, 0], heat[-1, -1], heat[0, -1]) == (1, 1, 0)  # corners of the frame


def test_automatic_tiles_shrink_a_frame_three_times_at_most() -> None:
    def grid(height: int, width: int, **options: object) -> tuple[int, int]:
        spec = ViewRequest(**options).resolve((height, width), (256, 256))  # type: ignore[arg-type]
        return (1, 1) if spec is None else (spec.rows, spec.columns)

    assert grid(3000, 4000, tiles="auto") == (5, 7)
    assert grid(1080, 1920, tiles="auto") == (2, 3)
    assert grid(480, 640, tiles="auto") == (1, 1)
    assert grid(3000, 4000, tile_size=1024) == (4, 5)
    assert grid(3000, 4000, tile_size=5000) == (1, 1)


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (lambda _: ViewRequest(crop=(0.5, 0, 0.6, 1)), "0.5,0,0.6,1 is not inside the frame"),
        (lambda _: ViewRequest(crop=(0, 0, float("nan"), 1)), "four numbers"),
        (lambda _: ViewRequest(tiles=(2, 2), tile_size=40), "leave one of both out"),
        (lambda _: ViewRequest(tiles=(40, 40)), "at most 256 are allowed"),
        (lambda _: ViewRequest(tiles=(12, 12)), "28x18 px, less than the network's input of 32x32"),
        (
            lambda folder: ViewRequest(mask=picture(folder / "m.png", np.eye(40) > 0)),
            "has 40x40 px, the photos have 180x120 px",
        ),
        (
            lambda folder: ViewRequest(mask=picture(folder / "m.png", np.ones((120, 180)))),
            "white everywhere",
        ),
        (
            lambda folder: ViewRequest(mask=picture(folder / "m.png", np.zeros((120, 180)))),
            "no white pixel",
        ),
        (
            lambda folder: ViewRequest(
                mask=picture(folder / "m.png", np.full((120, 180), 100 / 255))
            ),
            "100% of the mask .* are neither black nor white",
        ),
        (lambda folder: ViewRequest(mask=folder / "none.png"), "none.png"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, request_of: Callable[[Path], ViewRequest], words: str
) -> None:
    with pytest.raises((UsageError, DataError, ImageError), match=words):
        request_of(tmp_path).resolve((120, 180), (32, 32))


def test_a_mask_over_all_that_the_crop_leaves_is_refused(tmp_path: Path) -> None:
    mask = np.zeros((120, 180), bool)
    mask[:, 90:] = True
    request = ViewRequest((0.5, 0, 0.5, 1), picture(tmp_path / "mask.png", mask))
    with pytest.raises(UsageError, match="covers all that the crop leaves"):
        request.resolve((120, 180), (32, 32))


def test_frames_of_another_aspect_ratio_are_warned_of_once(
    viewed: Viewed, capsys: pytest.CaptureFixture[str]
) -> None:
    with EdgeDetector(viewed(ViewSpec(1.5, crop=(0.1, 0.1, 0.8, 0.8)))) as detect:
        detect(noise(40, 60))
        assert not capsys.readouterr().err
        detect(noise(60, 40))
        detect(noise(60, 40))
    said = capsys.readouterr().err
    assert said.count("an aspect ratio of 0.667") == 1
    assert "made for 1.500" in said


def test_masks_are_stored_as_text() -> None:
    mask = np.random.default_rng(0).random((21, 35)) > 0.5
    text = masks.encoded(mask)
    assert (masks.decoded(text, (21, 35)) == mask).all()
    for wrong in (
        "",
        "no text",
        masks.encoded(mask[:20]),
        masks.encoded(np.ones((900, 900), bool)),
    ):
        with pytest.raises(ValueError, match="is no mask"):
            masks.decoded(wrong, (21, 35))


def test_a_view_travels_in_the_manifest(viewed: Viewed, tmp_path: Path) -> None:
    mask = np.zeros((120, 180), bool)
    mask[:30] = True
    request = ViewRequest((0, 0, 1, 0.9), picture(tmp_path / "mask.png", mask), (2, 2))
    spec = request.resolve((120, 180), (32, 32))
    manifest = read_artifact(viewed(spec)).manifest
    assert manifest.view == spec
    assert manifest.schema == 2  # what does not know views must not read it
    assert read_artifact(viewed(None)).manifest.schema == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": [0.5, 0, 0.6, 1]}, "not inside the frame"),
        ({"crop": [0, 0, 0, 1]}, "not inside the frame"),
        ({"rows": 0}, "view.rows"),
        ({"rows": 200, "columns": 200}, "at most 256"),
        ({"overlap": 20}, "more than half"),
        ({"aspect": 0.0}, "view.aspect"),
        ({"mask": "AAAA"}, "view.mask that is no mask"),
        ({"mask": masks.encoded(np.ones((32, 32), bool))}, "leaves nothing to judge"),
    ],
)
def test_a_manifest_with_an_impossible_view_is_refused(
    changes: dict[str, object], words: str
) -> None:
    manifest = manifest_for(32, 32, (8, 8)).replace(view=ViewSpec(1.5))
    content = json.loads(manifest.to_json())
    content["view"] |= changes
    with pytest.raises(ArtifactError, match=words):
        Manifest.from_json(json.dumps(content), "viewed.onnx")


def test_a_covered_lens_is_seen_beside_a_mask(tmp_path: Path) -> None:
    """The edge of what is ignored is no contrast."""
    from edgead.contrast import GoodContrast, blank_cells

    mask = np.zeros((120, 120), bool)
    mask[:, :40] = True
    request = ViewRequest(mask=picture(tmp_path / "mask.png", mask))
    view = View((32, 32), spec=request.resolve((120, 120), (32, 32)))
    good = [view.prepare(noise(120, 120, seed)) for seed in range(3)]
    least = GoodContrast.of(good, view).least
    dead = view.prepare(np.full((120, 120, 3), 10, np.uint8))
    assert len(blank_cells(dead, least, (120, 120), view)) == 12  # not the masked column
    assert not blank_cells(good[0], least, (120, 120), view)


def test_a_file_without_a_view_gives_what_the_network_gives(
    tiny_artifact: Callable[..., Artifact],
) -> None:
    frame = noise(70, 90)
    artifact = tiny_artifact()
    with EdgeDetector(artifact.path) as detect:
        found = detect(frame)
        raw = detect._runtime.infer(resizing.resize(frame, (32, 32), resizing.AREA)[None])
    assert found.score == float(raw.score[0])
    assert (found.anomaly_map == raw.anomaly_map[0]).all()
