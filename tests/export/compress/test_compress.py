"""The compression of a real, if hardly trained, detector."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgead.artifact import Artifact, Manifest, read_artifact
from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.probe import probe
from edgead.cli import main
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.errors import GateRefused, UsageError
from edgead.evaluation import Evaluation
from edgead.export import ExportOptions, export, gate, judge
from edgead.export.compress.compressor import Compressor
from edgead.export.compress.importance import importance
from edgead.export.compress.moments import observe
from edgead.export.compress.network import Network
from edgead.export.compress.projection import difference_samples, principal_directions
from edgead.export.compress.speed import timer
from edgead.view import View
from tests.conftest import part, tiny_model, write_photo


@pytest.fixture(scope="module")
def fp32(exported: Path) -> onnx.ModelProto:
    return onnx.load(exported)


@pytest.fixture(scope="module")
def photos(shared_dataset: Path) -> CalibrationPhotos:
    paths = sorted((shared_dataset / "train/good").iterdir())[:6]
    return CalibrationPhotos.read(paths, View((96, 128)))


@pytest.fixture(scope="module")
def compressor(fp32: onnx.ModelProto, photos: CalibrationPhotos) -> Compressor:
    return Compressor(fp32, photos)


@pytest.fixture(scope="module")
def good(shared_dataset: Path) -> Path:
    return shared_dataset / "train/good"


@pytest.fixture(scope="module")
def compressed(exported: Path, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export to less than two thirds of the operations, and INT8 made from that.

    The detector is hardly trained, so its scores are close together and their order is fragile.
    """
    out = tmp_path_factory.mktemp("compressed")
    asked = ExportOptions(compress=0.2, int8="static", max_drop=5, calibration=str(good))
    export(exported, out, asked)
    return out


def maps(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    found = probe(model, ["anomaly_map"], [photo[None] for photo in batch])
    return np.concatenate([values for (values,) in found])


def test_the_graph_is_read_as_it_is(fp32: onnx.ModelProto, exported: Path) -> None:
    network = Network(fp32)
    manifest = read_artifact(exported).manifest
    # One bias of 384 where teacher minus student is one convolution.
    assert network.parameters == manifest.model.parameters - 384
    assert network.macs / 1e9 == pytest.approx(manifest.model.gmac, rel=1e-3)
    assert [d.convolutions for d in network.differences] == [
        ("difference",),
        ("autoencoder/head", "student_autoencoder"),
    ]
    assert [d.centring for d in network.differences] == pytest.approx([0.5, 0.5])


def test_weights_that_two_convolutions_share_are_changed_for_one(fp32: onnx.ModelProto) -> None:
    shared = onnx.ModelProto()
    shared.CopyFrom(fp32)
    nodes = {node.name: node for node in shared.graph.node}
    nodes["student/2"].input[2] = nodes["teacher/2"].input[2]
    network = Network(shared)
    network.keep_channels("student/2", range(48))
    assert len(network.weights("student/2")[1]) == 48
    assert len(network.weights("teacher/2")[1]) == 96
    network.finished()


def test_turning_differences_to_all_their_directions_changes_nothing(
    fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    network = Network(fp32)
    ends = [name for d in network.differences for name in d.convolutions]
    observed = observe(network, ends, [photo[None] for photo in photos.good], 40)
    for difference in network.differences:
        directions, _ = principal_directions(difference_samples(difference, observed))
        network.project(difference, directions)
    before, after = maps(fp32, photos.defective), maps(network.finished(), photos.defective)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.ptp(before))


def test_the_importance_foretells_what_an_error_does(
    fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    """Errors of single hidden channels, and what they change in the differences."""
    original = Network(fp32)
    batch = [photo[None] for photo in photos.good[:3]]
    observed = observe(original, list(original.convolutions), batch, 60)
    weights = importance(original, observed.outputs).outputs["student/2"]
    ends = [name for d in original.differences for name in d.convolutions]
    foretold, found = [], []
    for channel in range(0, 96, 12):
        changed = Network(fp32)
        values, bias = changed.weights("student/2")
        bias[channel] += 0.01
        changed.set_weights("student/2", values, bias)
        after = observe(changed, ends, batch, 60)
        found.append(
            sum(
                d.weight
                * np.square(difference_samples(d, after) - difference_samples(d, observed))
                .sum(1)
                .mean()
                for d in original.differences
            )
        )
        foretold.append(weights[channel, channel] * 0.01**2)
    # An offset is the same at all places, so it adds up where the estimate takes them as
    # independent: the order and the size count, not the third digit.
    assert np.corrcoef(foretold, found)[0, 1] > 0.6
    matters = np.array(foretold) > 0  # a channel that no photo opens is foretold to do nothing
    assert not np.array(found)[~matters].any()
    assert 0.1 < np.median(np.array(found)[matters] / np.array(foretold)[matters]) < 10


def test_fewer_operations_the_same_maps(
    compressor: Compressor, fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    made = compressor.compress(0.4 * compressor.gmac)
    assert made.gmac <= 0.4 * compressor.gmac
    assert made.gmac == pytest.approx(Network(made.model).macs / 1e9, abs=1e-4)
    before, after = maps(fp32, photos.defective), maps(made.model, photos.defective)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def test_what_is_redundant_goes_without_a_loss(
    fp32: onnx.ModelProto, photos: CalibrationPhotos
) -> None:
    """Half of a layer's channels doubled, another of rank 16: the same function in fewer."""
    planted = Network(fp32)
    for name in ("student/2", "teacher/2"):
        weights, bias = planted.weights(name)
        weights[48:], bias[48:] = weights[:48], bias[:48]
        planted.set_weights(name, weights, bias)
    for name in ("student/4", "teacher/4"):
        weights, bias = planted.weights(name)
        left, values, right = np.linalg.svd(weights.reshape(len(weights), -1), full_matrices=False)
        low = (left[:, :16] * values[:16]) @ right[:16]
        planted.set_weights(name, low.reshape(weights.shape), bias)
    model = planted.finished()
    compressor = Compressor(model, photos)
    plan = next(p for p in compressor.path if p.channels.get("student/2", 96) <= 48)
    made = compressor.compress(0.75 * compressor.gmac)
    assert plan.lost < 0.01
    before, after = maps(model, photos.defective), maps(made.model, photos.defective)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999


def test_the_files_say_what_was_done(compressed: Path, exported: Path) -> None:
    report = json.loads((compressed / "report.json").read_text())
    whole, smaller, int8, _for_tensorrt = report["variants"]
    assert whole["precision"] == smaller["precision"] == "fp32"
    assert smaller["gmac"] <= 0.2 < 0.65 * whole["gmac"]
    assert smaller["parameters"] < whole["parameters"]
    assert int8["gmac"] == smaller["gmac"]
    (rung,) = report["compression"]
    assert rung["accepted"]
    assert rung["speed_up"] > 0
    assert "Compressions tried" in (compressed / "report.md").read_text()
    manifest = read_artifact(compressed / int8["file"]).manifest
    assert manifest.compression is not None
    assert manifest.compression.gmac_before == pytest.approx(whole["gmac"], rel=1e-3)
    assert manifest.name.startswith("efficientad-n-c0.")
    assert manifest.model.gmac == smaller["gmac"]
    assert read_artifact(exported).manifest.compression is None


def test_info_shows_it(compressed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = compressed.glob("efficientad-n-c*-int8.onnx")
    assert main(["info", str(path)]) == 0
    assert "compressed" in capsys.readouterr().out


def test_threshold_and_statistics_are_the_compressed_graphs_own(
    compressed: Path, good: Path
) -> None:
    report = json.loads((compressed / "report.json").read_text())
    with EdgeDetector(compressed / report["variants"][1]["file"], "onnxruntime") as detect:
        own = [detect(path).score for path in sorted(good.iterdir())]
        assert detect.manifest.score_statistics.mean == pytest.approx(np.mean(own), rel=1e-5)


def test_an_outline_has_the_shape_of_what_is_made_and_is_timed_as_int8_too(
    compressor: Compressor, photos: CalibrationPhotos, exported: Path, tmp_path: Path
) -> None:
    target = 0.6 * compressor.gmac
    made, outline = compressor.compress(target), compressor.outline(target)
    assert Network(outline).macs / 1e9 == pytest.approx(made.gmac, abs=1e-4)
    for precision in ("fp32", "int8"):
        manifest = read_artifact(exported).manifest.replace(precision=precision)
        milliseconds = timer(compressor, manifest, photos.good[:1], tmp_path)
        assert milliseconds(target) > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_is_compressed_as_far_as_the_gate_allows(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(trained_run), "--out", str(tmp_path), "--compress", "--max-drop", "5"]
    assert main(words) == 0
    (path,) = tmp_path.glob("efficientad-n-c0.*.onnx")
    assert f"wrote {path}" in capsys.readouterr().out
    rungs = json.loads((tmp_path / "report.json").read_text())["compression"]
    passed = [rung["gmac"] for rung in rungs if rung["accepted"]]
    assert read_artifact(path).manifest.model.gmac == min(passed)
    assert len(rungs) > 1


@pytest.mark.slow
def test_auto_steps_back_until_int8_passes(
    exported: Path,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rungs of this detector are 0.08 to 0.2 GMAC; here only INT8 of the larger ones passes."""
    real = gate.on_synthetic_defects

    def refusal(before, after, parity, max_drop):  # type: ignore[no-untyped-def]
        return "too much is lost" if after.synthetic_auroc == -1 else None

    def measured(manifest: Manifest, scored, masks):  # type: ignore[no-untyped-def]
        found = real(manifest, scored, masks)
        if manifest.precision == "int8" and manifest.model.gmac < 0.12:
            return dataclasses.replace(found, ranked=np.full_like(found.ranked, -1))
        return found

    monkeypatch.setattr(gate, "refusal", refusal)
    monkeypatch.setattr(gate, "on_synthetic_defects", measured)
    export(
        exported,
        tmp_path,
        ExportOptions(compress="auto", int8="static", max_drop=100, calibration=str(good)),
    )
    (int8,) = tmp_path.glob("efficientad-n-c*-int8.onnx")
    assert read_artifact(int8).manifest.model.gmac >= 0.12
    assert "GMAC was refused (too much is lost); trying" in capsys.readouterr().err


@pytest.mark.slow
def test_a_target_that_does_not_pass_names_one_that_does(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(exported), "--out", str(tmp_path), "--calibration", str(good)]
    words += ["--max-drop", "5"]
    assert main([*words, "--compress", "0.0001"]) == 3
    said = capsys.readouterr().err
    assert "the smallest possible network has" in said
    nearest = said.split("the nearest target that passes is --compress ")[1].split()[0].rstrip(";)")
    assert not list(tmp_path.glob("efficientad-n-c*"))
    assert (tmp_path / "efficientad-n.onnx").is_file()
    assert 0 < float(nearest) < 0.33


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--compress", "much"], "neither 'auto' nor a number of GMAC"),
        (["--compress", "-1"], "neither 'auto' nor a number of GMAC"),
        (["--compress", "99"], "the detector has only"),
        (["--max-latency", "0"], "not a number of milliseconds above 0"),
        (["--max-latency", "5", "--compress", "1"], "leave one out"),
        (["--max-latency", "1e6"], "without compression"),
    ],
)
def test_targets_that_mean_nothing(
    exported: Path,
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    source = ["export", str(exported), "--calibration", str(good)]
    assert main([*source, "--out", str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("*.onnx"))


def test_what_is_compressed_or_quantized_already_is_refused(
    compressed: Path, good: Path, tmp_path: Path
) -> None:
    smaller, int8 = (
        json.loads((compressed / "report.json").read_text())["variants"][index]["file"]
        for index in (1, 2)
    )
    options = ExportOptions(compress="auto", calibration=str(good))
    with pytest.raises(UsageError, match="already compressed from"):
        export(compressed / smaller, tmp_path, options)
    with pytest.raises(UsageError, match="is int8 and no longer"):
        export(compressed / int8, tmp_path, options)


def test_a_map_that_is_no_squared_difference_is_refused(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    for index in range(5):
        write_photo(tmp_path / f"good/{index}.png", part(index))
    options = ExportOptions(compress="auto", calibration=str(tmp_path / "good"))
    with pytest.raises(UsageError, match="needs a map that is a sum of squared.*--int8"):
        export(tiny_artifact().path, tmp_path / "out", options)
    with pytest.raises(UsageError):
        Network(onnx.load_from_string(tiny_model()))


@pytest.mark.slow
def test_labelled_photos_can_refuse_but_not_choose(
    exported: Path,
    good: Path,
    shared_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = judge.evaluate_together

    def worse_when_compressed(
        detectors: Sequence[EdgeDetector], labelled: Dataset
    ) -> list[Evaluation]:
        found = real(detectors, labelled)
        was = [0.9 if detect.manifest.compression is None else 0.8 for detect in detectors]
        return [
            dataclasses.replace(entry, image_auroc=auroc)
            for entry, auroc in zip(found, was, strict=True)
        ]

    monkeypatch.setattr(judge, "evaluate_together", worse_when_compressed)
    options = ExportOptions(
        compress=0.15, max_drop=5, validate=str(shared_dataset), calibration=str(good)
    )
    with pytest.raises(GateRefused, match="image AUROC falls by 10.00 points"):
        export(exported, tmp_path, options)
    assert not list(tmp_path.glob("efficientad-n-c*"))
