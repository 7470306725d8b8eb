"""``edgead teach --add``: more good photos, without the first ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import edgead
from edgead import teaching
from edgead.artifact import Artifact, read_artifact
from edgead.teaching import patchcore
from tests.conftest import part, write_photo
from tests.teaching.conftest import few, refused, run


def marked(seed: int) -> np.ndarray:
    """A good part with a mark that the others do not have."""
    photo = part(seed)
    cv2.rectangle(photo, (4, 4), (26, 20), (200, 60, 20), -1)
    return photo


@pytest.mark.parametrize("kind", ["taught", "taught_int8"])
def test_a_new_look_is_good_afterwards(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    file = request.getfixturevalue(kind)
    for index in range(3):
        write_photo(tmp_path / f"more/{index}.png", marked(500 + index))
    out = tmp_path / "more.onnx"
    assert run("teach", tmp_path / "more", "--add", file, "--out", out) == 0
    said = capsys.readouterr()
    assert "3 added photos above the old threshold" in said.out
    new = marked(600)
    with edgead.EdgeDetector(file) as before, edgead.EdgeDetector(out) as after:
        assert before(new).is_anomalous
        assert not after(new).is_anomalous
        assert after(part(601, defect=True)).is_anomalous
        assert not after(part(602)).is_anomalous
    old, manifest = read_artifact(file).manifest, read_artifact(out).manifest
    assert manifest.training.images == old.training.images + 3
    assert manifest.precision == old.precision
    assert manifest.parity is not None
    assert manifest.parity.reference == "numpy"
    assert manifest.source_sha256 != old.source_sha256


def test_the_threshold_is_that_of_all_scores(taught: Path, tmp_path: Path) -> None:
    old = read_artifact(taught).manifest
    with edgead.EdgeDetector(taught) as detect:
        scores = [detect(part(index)).score for index in range(700, 706)]
    assert max(scores) <= old.threshold.value
    made = teaching.add(taught, few(tmp_path / "more", 6, 700), tmp_path / "more.onnx")
    found, known = made.manifest.score_statistics, old.score_statistics
    assert found.images == 6 + known.images
    total = known.images * known.mean + sum(scores)
    assert found.mean == pytest.approx(total / found.images, rel=1e-4)
    squares = (known.images - 1) * known.std**2 + known.images * known.mean**2
    squares += float(np.square(scores).sum()) - found.images * found.mean**2
    assert found.std == pytest.approx((squares / (found.images - 1)) ** 0.5, rel=1e-3)
    assert found.maximum == pytest.approx(max(known.maximum, *scores), rel=1e-4)
    assert made.manifest.threshold.value >= found.maximum


def test_the_bank_grows_to_its_size_and_no_further(tmp_path: Path) -> None:
    options = edgead.TeachOptions(image_size=(64, 64), coreset=40)
    made = edgead.teach(few(tmp_path / "a", 1), tmp_path / "a.onnx", options)
    assert len(patchcore.bank_of(onnx.load(made.path))) == 16
    for _ in range(2):
        made = teaching.add(made.path, few(tmp_path / "b", 4, 10), tmp_path / "a.onnx")
        assert len(patchcore.bank_of(onnx.load(made.path))) == 40
        assert made.manifest.model.parameters == 2_337_944 + 40 * 304


def test_one_photo_is_added(taught: Path, tmp_path: Path) -> None:
    made = teaching.add(taught, few(tmp_path / "more", 1, 40), tmp_path / "more.onnx")
    assert made.manifest.training.images == 17
    assert made.manifest.parity is not None
    assert made.manifest.parity.max_score_diff_relative < 1e-4


def test_the_order_of_the_photos_does_not_matter(taught: Path, tmp_path: Path) -> None:
    paths = sorted(few(tmp_path / "more", 3, 800).iterdir())
    seals = {
        teaching.add(taught, order, tmp_path / "more.onnx").sha256 for order in (paths, paths[::-1])
    }
    assert len(seals) == 1


def test_a_defect_among_them_is_named(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = few(tmp_path / "more", 2, 900)
    write_photo(more / "odd.png", part(300, defect=True))
    assert run("teach", more, "--add", taught, "--out", tmp_path / "more.onnx") == 0
    said = capsys.readouterr().err
    assert said.count("is an odd one") == 1
    assert "odd.png is an odd one" in said


def test_other_files_are_refused(
    taught: Path, tmp_path: Path, tiny_artifact: object, capsys: pytest.CaptureFixture[str]
) -> None:
    more, out = few(tmp_path / "more", 1), tmp_path / "out.onnx"
    other: Artifact = tiny_artifact()  # type: ignore[operator]
    assert "was not taught (it is tiny)" in refused(
        capsys, 2, more, "--add", other.path, "--out", out
    )
    assert "--int8 cannot be changed with --add" in refused(
        capsys, 2, more, "--add", taught, "--out", out, "--int8"
    )
    damaged = Path(shutil.copy(taught, tmp_path / "damaged.onnx"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert "changed or damaged" in refused(capsys, 1, more, "--add", damaged, "--out", out)
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, 1, tmp_path / "empty", "--add", taught, "--out", out)
    assert not out.exists()


def test_a_manifest_of_its_own_making_is_refused(taught: Path, tmp_path: Path) -> None:
    from edgead.artifact import write_artifact

    artifact = read_artifact(taught)
    for options in ({}, {"stages": [4, "5"], "coreset": 500}, {"stages": [4, 5], "coreset": 1e9}):
        model = artifact.manifest.model.replace(options=options)
        path = tmp_path / "own.onnx"
        write_artifact(path, taught.read_bytes(), artifact.manifest.replace(model=model))
        with pytest.raises(edgead.EdgeadError, match="does not write"):
            teaching.add(path, few(tmp_path / "more", 1), tmp_path / "out.onnx")


def test_a_file_of_another_version_is_named(taught: Path, tmp_path: Path) -> None:
    from edgead.artifact import write_artifact

    model = onnx.load(taught)
    for tensor in model.graph.initializer:
        if tensor.name == f"{patchcore.TEXTURE}.bias":
            model.graph.initializer.remove(tensor)
    path = tmp_path / "older.onnx"
    write_artifact(path, model.SerializeToString(), read_artifact(taught).manifest)
    with pytest.raises(edgead.EdgeadError, match="older.onnx was taught by another version"):
        teaching.add(path, few(tmp_path / "more", 1), tmp_path / "out.onnx")
