"""``edgead teach`` from photos to a file that every command takes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from sklearn.neighbors import NearestNeighbors

import edgead
from edgead.artifact import read_artifact
from edgead.errors import DataError
from edgead.runtimes import available, open_runtime
from edgead.teaching import patchcore
from edgead.teaching.extract import Extractor
from edgead.view import View
from tests.conftest import part, write_photo
from tests.graphs import operators
from tests.teaching.conftest import SIZE, few, photos_of, refused, run


def test_it_finds_defects(
    taught: Path, taught_int8: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    for file in (taught, taught_int8):
        out = tmp_path / f"{file.stem}.json"
        assert run("evaluate", file, shared_dataset, "--json", out) == 0
        assert json.loads(out.read_text())["image_auroc"] == 1
        assert run("predict", file, shared_dataset / "test/blot", "--json", out) == 0
        assert all(entry["is_anomalous"] for entry in json.loads(out.read_text()))


def test_the_manifest_is_complete(taught: Path, taught_int8: Path) -> None:
    for file, precision in ((taught, "fp32"), (taught_int8, "int8")):
        manifest = read_artifact(file).manifest
        assert manifest.precision == precision
        assert manifest.model.options == {
            "backbone": "efficientnet-lite0",
            "stages": [4, 5],
            "coreset": 500,
        }
        assert manifest.teacher is not None
        assert manifest.teacher.sha256.startswith("57934424")
        assert "Apache-2.0" in manifest.teacher.licence
        assert (manifest.training.images, manifest.training.held_out) == (16, 0)
        assert manifest.training.least_contrast is not None
        assert manifest.parity is not None
        assert manifest.threshold.images == 16
        assert manifest.threshold.false_positive_interval is not None
        weights = onnx.load(file).graph.initializer
        sizes = [np.prod(t.dims) for t in weights if t.name.endswith((".weight", ".bias"))]
        if precision == "fp32":
            bank = patchcore.bank_of(onnx.load(file))
            assert manifest.model.parameters == sum(sizes) + bank.size


def test_the_graph_is_what_numpy_computes(taught: Path, shared_dataset: Path) -> None:
    artifact = read_artifact(taught)
    model = onnx.load(taught)
    design = patchcore.Design(artifact.manifest.input.size, (4, 5))
    bank = patchcore.bank_of(model)
    np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, atol=1e-5)
    extractor = Extractor(model)
    photo = edgead.detector._load(str(shared_dataset / "test/blot/000.png"), 0)
    pixels = View(design.size).prepare(photo)
    texture = patchcore.texture_of(model)
    expected = patchcore.maps(extractor.patches(pixels), patchcore.Nearest(bank), texture, design)
    with open_runtime(artifact, "onnxruntime").runtime as runtime:
        found = runtime.infer(pixels[None])
    assert expected.shape == (16, 16)
    np.testing.assert_allclose(found.anomaly_map[0], expected, atol=1e-5)
    distances = (
        NearestNeighbors(metric="cosine").fit(bank).kneighbors(extractor.vectors(pixels), 1)[0]
    )
    top = np.sort(distances.ravel())[-3:]  # a twentieth of 8x8 cells
    assert found.score[0] == pytest.approx(top.mean(), abs=1e-4)


def test_the_int8_backbone_is_int8(taught_int8: Path, tmp_path: Path) -> None:
    found = operators(onnx.load(taught_int8), tmp_path)
    assert found.count("QLinearConv") == 43
    # The first one, the depthwise one behind it, the bank, and the Gaussian.
    assert found.count("Conv") + found.count("FusedConv") == 4
    assert "Clip" not in found
    assert found.count("Sub") == 2  # the mean of the pixels, and one minus the similarity
    assert Path(taught_int8).stat().st_size < 4_000_000


def test_every_runtime_here_agrees(taught: Path, taught_int8: Path, shared_dataset: Path) -> None:
    names = [name for name, reason in available().items() if reason is None and name != "torch"]
    photo = shared_dataset / "test/blot/001.png"
    for file, tolerance in ((taught, 1e-4), (taught_int8, 2e-2)):
        scores = []
        for name in names:
            with edgead.EdgeDetector(file, name) as detect:
                scores.append(detect(photo).score)
        np.testing.assert_allclose(scores, scores[0], rtol=tolerance)


def test_the_same_photos_give_the_same_file(tmp_path: Path) -> None:
    first, second = few(tmp_path / "a", 9), tmp_path / "b"
    second.mkdir()
    names = sorted(path.name for path in first.iterdir())
    for name, other in zip(names, reversed(names), strict=True):
        shutil.copy(first / name, second / other)
    options = edgead.TeachOptions(image_size=(64, 64))
    seals = {
        edgead.teach(folder / ".." / folder.name, tmp_path / "part.onnx", options)
        .manifest.replace(training=None)  # type: ignore[arg-type]
        .to_json()
        for folder in (first, second)
    }
    assert len(seals) == 1
    paths = sorted(first.iterdir())
    files = set()
    for order in (paths, paths[::-1], [*paths[3:], *paths[:3], paths[0]]):
        made = edgead.teach(order, tmp_path / "part.onnx", options)
        files.add(made.manifest.source_sha256)
    assert len(files) == 1


def test_frames_teach_as_photos_do(tmp_path: Path) -> None:
    folder = few(tmp_path / "parts", 3)
    options = edgead.TeachOptions(image_size=(64, 64))
    frames = photos_of(folder)
    made = edgead.teach(frames, tmp_path / "frames.onnx", options)
    again = edgead.teach(frames[::-1], tmp_path / "frames.onnx", options)
    assert made.sha256 == again.sha256
    assert made.manifest.training.dataset == "frames"
    with pytest.raises(DataError, match="there are no photos to teach with"):
        edgead.teach([], tmp_path / "none.onnx", options)
    with pytest.raises(edgead.EdgeadError, match="frame 1 is NoneType"):
        edgead.teach([frames[0], None], tmp_path / "none.onnx", options)  # type: ignore[list-item]
    assert not (tmp_path / "none.onnx").exists()


def test_grey_frames_teach_as_the_same_in_colour_do(tmp_path: Path) -> None:
    grey = [frame[..., 1] for frame in photos_of(few(tmp_path / "parts", 3))]
    options = edgead.TeachOptions(image_size=(64, 64))
    made = edgead.teach(grey, tmp_path / "grey.onnx", options)
    colour = [np.repeat(frame[..., None], 3, axis=2) for frame in grey]
    other = edgead.teach(colour, tmp_path / "colour.onnx", options)
    # Another order of the photos, because their bytes are others: the same score all the same.
    with edgead.EdgeDetector(made.path) as one, edgead.EdgeDetector(other.path) as two:
        assert one(part(9)).score == pytest.approx(two(part(9)).score, rel=1e-4)


def test_a_stream_may_reuse_its_memory(tmp_path: Path) -> None:
    frames = [cv2.resize(frame, (64, 64)) for frame in photos_of(few(tmp_path / "parts", 3))]

    def stream() -> Iterator[np.ndarray]:
        memory = np.empty_like(frames[0])
        for frame in frames:
            memory[:] = frame
            yield memory

    options = edgead.TeachOptions(image_size=(64, 64))
    made = edgead.teach(stream(), tmp_path / "part.onnx", options)
    assert made.sha256 == edgead.teach(frames, tmp_path / "part.onnx", options).sha256


def test_frames_beyond_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgead.teaching import gallery

    monkeypatch.setattr(gallery, "MOST_FRAME_BYTES", 5 * 64 * 64 * 3)
    frames = (part(index, (300, 400)) for index in range(10))
    options = edgead.TeachOptions(image_size=(64, 64))
    with pytest.raises(DataError, match="more than 5 frames.*write them to files"):
        edgead.teach(frames, tmp_path / "part.onnx", options)
    assert len(list(frames)) == 4  # it stops at the first that does not fit


def test_one_photo_works_and_says_what_it_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = few(tmp_path / "one", 1)
    out = tmp_path / "part.onnx"
    assert run("teach", folder / "000.png", "--out", out, "--image-size", SIZE) == 0
    said = capsys.readouterr().out
    assert "note: one photo does not show how good parts differ" in said
    assert f"next: edgead predict {out}" in said
    with edgead.EdgeDetector(out) as detect:
        assert detect(part(0, defect=True)).score > detect(part(0)).score


@pytest.mark.parametrize("count", [8, 20])
def test_few_photos_give_a_threshold_that_finds_defects(count: int, tmp_path: Path) -> None:
    """A bound from the two to five photos that a quarter of them are misses most defects."""
    options = edgead.TeachOptions(image_size=(96, 96))
    made = edgead.teach(few(tmp_path / "parts", count), tmp_path / "part.onnx", options)
    assert made.manifest.threshold.method.startswith(f"each of {count} photos")
    with edgead.EdgeDetector(made.path, "onnxruntime") as detect:
        assert all(detect(part(seed, defect=True)).is_anomalous for seed in range(300, 308))


def test_photos_of_different_sizes(tmp_path: Path) -> None:
    folder = few(tmp_path / "mixed", 2)
    write_photo(folder / "large.png", part(7, (140, 180)))
    made = edgead.teach(folder, tmp_path / "part.onnx", edgead.TeachOptions(image_size=(64, 64)))
    assert str(made.manifest.training.photo_sizes) == "90-180x70-140 px"


def test_a_defect_among_good_photos_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (6, 20):
        folder = few(tmp_path / str(count), count)
        write_photo(folder / "odd.png", part(300, defect=True))
        out = tmp_path / "part.onnx"
        assert run("teach", folder, "--out", out, "--image-size", SIZE) == 0
        warnings = [line for line in capsys.readouterr().err.splitlines() if "odd one" in line]
        assert len(warnings) == 1
        assert "odd.png is the odd one" in warnings[0]


def test_good_photos_alone_name_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in (6, 20):
        folder = few(tmp_path / str(count), count, 20)
        out = tmp_path / "part.onnx"
        assert run("teach", folder, "--out", out, "--image-size", SIZE) == 0
        assert "odd" not in capsys.readouterr().err


def test_bad_input_is_one_sentence(
    tmp_path: Path,
    shared_dataset: Path,
    taught: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, out = few(tmp_path / "parts", 2), tmp_path / "part.onnx"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in refused(capsys, 1, empty, "--out", out)
    assert "does not exist" in refused(capsys, 1, tmp_path / "nowhere", "--out", out)
    only_test = tmp_path / "only_test"
    shutil.copytree(shared_dataset / "test", only_test / "test")
    assert "test photos must not be taught" in refused(capsys, 1, only_test, "--out", out)
    for tested in ("test", "test/good", "test/good/000.png"):
        said = refused(capsys, 1, folder, shared_dataset / tested, "--out", out)
        assert "holds test photos" in said
        assert "must not be taught" in said
    assert "holds test photos" in refused(
        capsys, 1, shared_dataset / "test/good", "--add", taught, "--out", out
    )
    assert "part.txt" in refused(capsys, 2, folder, "--out", tmp_path / "part.txt")
    assert "multiple of 32" in refused(capsys, 2, folder, "--out", out, "--image-size", "100x64")
    assert "choose one of: patchcore" in refused(
        capsys, 2, folder, "--out", out, "--detector", "nonesuch"
    )
    assert "from 2 to 6" in refused(capsys, 2, folder, "--out", out, "--stages", "1,5")
    assert "ascending" in refused(capsys, 2, folder, "--out", out, "--stages", "5,4")
    assert "4096" in refused(capsys, 2, folder, "--out", out, "--coreset", "5000")
    assert "below 1" in refused(capsys, 2, folder, "--out", out, "--false-positive-rate", "1")
    for index in range(3):
        write_photo(tmp_path / f"flat/{index}.png", np.full((40, 40, 3), 90 + index, np.uint8))
    assert "show nothing" in refused(capsys, 1, tmp_path / "flat", "--out", out)
    (folder / "broken.png").write_bytes((folder / "000.png").read_bytes()[:300])
    assert "broken.png" in refused(capsys, 1, folder, "--out", out)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'edgead[teach]'" in refused(
        capsys, 1, shared_dataset, "--out", out, "--image-size", "64x64"
    )
    assert not out.exists()


def test_a_refusal_leaves_what_was_there(
    taught: Path, shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copy(taught, tmp_path / "part.onnx"))
    from edgead.export import gate

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "RANK_CORRELATION", 1.01)  # what no file reaches
        said = refused(capsys, 3, shared_dataset, "--out", out, "--image-size", "64x64", "--int8")
    assert "INT8 was refused, because" in said
    assert out.read_bytes() == taught.read_bytes()


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    folder = few(tmp_path / "parts", 2)
    code = (
        "import sys; from edgead.cli import main; "
        f"code = main(['teach', {str(folder)!r}, '--out', {str(tmp_path / 'part.onnx')!r}, "
        "'--image-size', '64x64', '--int8', '--max-drop', '50']); "
        "assert code in (0, 3), code; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_info_shows_what_it_was_taught_with(
    taught: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("info", taught) == 0
    said = capsys.readouterr().out
    assert "efficientnet-lite0" in said
    assert "with 16 photos of parts\n" in said
    assert "from numpy" in said


def test_bench_takes_it(taught_int8: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    assert run("bench", taught_int8, "--duration", "0.1", "--json", out) in (0, 3)
    assert json.loads(out.read_text())["artifact"]["model"] == "patchcore"
