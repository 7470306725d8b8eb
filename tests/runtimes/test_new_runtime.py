"""A runtime with a file format of its own, which another package brings in one folder."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector, images
from edgead.artifact import Artifact, containers, read_artifact, sidecar, write_artifact
from edgead.benchmarks.device import Device
from edgead.cli import main
from edgead.errors import ArtifactError, EdgeadError, RuntimeUnavailableError
from edgead.runtimes import available, open_runtime, select
from tests.conftest import manifest_for, part, tiny_model, write_photo

PACKAGE = Path(__file__).parent / "new_runtime" / "edgead_tiny"
ENTRY_POINTS = """
[edgead.runtimes]
tiny = edgead_tiny.runtime:TinyRuntime

[edgead.containers]
tiny = edgead_tiny.container:CONTAINER
"""
CELLS = 8
SIDE = 32
_MANIFEST = manifest_for(SIDE, SIDE, (CELLS, CELLS))
MANIFEST = _MANIFEST.replace(threshold=dataclasses.replace(_MANIFEST.threshold, value=30.0))


def _forget() -> None:
    """Drop what was found out about the packages that are installed, and theirs."""
    for remembered in (
        containers._others,
        containers._load,
        select._locations,
        select.names,
        select.runtime_class,
    ):
        remembered.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "edgead_tiny"]:
        del sys.modules[name]


@pytest.fixture
def not_installed() -> Iterator[None]:
    _forget()
    yield
    _forget()


@pytest.fixture
def installed(not_installed: None, tmp_path: Path) -> Iterator[None]:
    """Put the package and what pip writes down about it into a folder of their own."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "edgead_tiny", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "edgead_tiny-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgead-tiny\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A detector in the new format: the mean colours of good parts."""
    good = np.stack([images.resize(part(seed), (SIDE, SIDE)) for seed in range(8)])
    block = SIDE // CELLS
    colours = good.reshape(-1, CELLS, block, CELLS, block, 3).mean(axis=(0, 2, 4))
    content = io.BytesIO()
    np.savez(content, colours=colours.astype(np.float32))
    path = tmp_path / "part.tiny"
    sidecar.write(path, content.getvalue(), MANIFEST)
    return path


def cli(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


@pytest.mark.usefixtures("installed")
def test_a_detector_runs_in_it_and_tells_good_from_defective(tiny: Path) -> None:
    artifact = read_artifact(tiny)
    assert not artifact.is_engine
    assert artifact.content() == tiny.read_bytes()
    assert available()["tiny"] is None
    with EdgeDetector(tiny) as detect:
        assert detect.runtime.name == "tiny"
        assert "onnxruntime" in detect.passed_over
        assert not detect(part(50)).is_anomalous
        assert detect(part(51, defect=True)).is_anomalous
    assert Device.of().packages["edgead-tiny"] == "1.0"


@pytest.mark.usefixtures("installed")
def test_the_other_runtimes_refuse_its_files_and_it_refuses_theirs(
    tiny: Path, tiny_artifact: Callable[..., Artifact]
) -> None:
    for name in ("onnxruntime", "openvino", "tensorrt"):
        with pytest.raises(RuntimeUnavailableError, match=r"it opens \.\w+ files, not \.tiny$"):
            open_runtime(read_artifact(tiny), name)
    with pytest.raises(RuntimeUnavailableError, match=r"it opens \.tiny files, not \.onnx$"):
        open_runtime(tiny_artifact(), "tiny")
    with open_runtime(tiny_artifact()).runtime as runtime:
        assert runtime.name != "tiny"


@pytest.mark.usefixtures("installed")
def test_commands_take_its_files(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo(tmp_path / "photos/defective.png", part(51, defect=True))
    code, out, _ = cli(capsys, "info", tiny)
    assert code == 0
    assert "part.tiny" in out
    assert "seal intact" in out
    code, out, _ = cli(capsys, "predict", tiny, photo)
    assert code == 0
    # Without threads, which it does not use.
    assert "1 of 1 photos are anomalous (threshold 30.0000, tiny 1.0)" in out
    code, out, _ = cli(capsys, "runtimes")
    assert "tiny         works" in out
    figures = tmp_path / "bench.json"
    code, out, _ = cli(
        capsys, "bench", tiny, "--duration", "0.2", "--frame-size", "60x80", "--json", figures
    )
    assert code == 0
    found = json.loads(figures.read_text())
    assert found["runtime"]["name"] == "tiny"
    assert found["runtime"]["device_kind"] == "cpu"
    assert not found["on_gpu"]
    code, out, _ = cli(
        capsys, "bench", tiny, "--duration", "0.2", "--frame-size", "60x80", "--tune"
    )
    assert code == 0
    assert out.endswith("\nbest here: --runtime tiny\n")  # without threads, which it does not use
    assert found["peak_rss_mib"] > 20  # measured in another process, which finds the package, too


@pytest.mark.usefixtures("installed")
def test_a_folder_with_its_files_is_benchmarked_beside_the_others(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    write_artifact(folder / "part.onnx", tiny_model(), MANIFEST)
    for path in (tiny, sidecar.path_beside(tiny)):
        shutil.copy(path, folder)
    code, out, _ = cli(capsys, "bench", folder, "--duration", "0.2", "--frame-size", "60x80")
    assert code == 0
    assert "tiny" in out
    assert "onnxruntime" in out


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("hurt", ["cut", "changed", "sidecar", "no sidecar", "engine's sidecar"])
def test_a_damaged_file_is_refused(
    hurt: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = sidecar.path_beside(tiny)
    data = tiny.read_bytes()
    if hurt == "cut":
        tiny.write_bytes(data[:-1])
    elif hurt == "changed":
        tiny.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif hurt == "no sidecar":
        beside.unlink()
    else:
        content = json.loads(beside.read_text())
        if hurt == "sidecar":
            content["threshold"]["value"] = 1e6
        else:
            del content["content"]
        beside.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="copy both files again, or make it again$"):
        read_artifact(tiny)
    code, out, err = cli(capsys, "predict", tiny, tiny)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("installed")
def test_a_file_that_is_exchanged_after_it_was_read_is_not_run(tiny: Path) -> None:
    artifact = read_artifact(tiny)
    tiny.write_bytes(b"another")
    with pytest.raises(ArtifactError, match="was replaced or changed after it was opened"):
        open_runtime(artifact, "tiny")


@pytest.mark.usefixtures("not_installed")
def test_without_the_package_the_error_names_what_is_missing(
    tiny: Path, tiny_artifact: Callable[..., Artifact]
) -> None:
    with pytest.raises(ArtifactError, match=r"nothing here reads \.tiny files, only \.onnx, "):
        read_artifact(tiny)


@pytest.mark.usefixtures("installed")
def test_a_container_that_cannot_be_imported_stops_its_own_files_alone(
    tiny: Path, tmp_path: Path, tiny_artifact: Callable[..., Artifact]
) -> None:
    (tmp_path / "site/edgead_tiny/container.py").write_text("import a_package_that_is_gone")
    with pytest.raises(ArtifactError, match="cannot be imported .*a_package_that_is_gone"):
        read_artifact(tiny)
    assert read_artifact(tiny_artifact().path).manifest.model.name == "tiny"
    (tmp_path / "site/edgead_tiny/container.py").write_text("CONTAINER = 1")
    for name in [name for name in sys.modules if name.startswith("edgead_tiny")]:
        del sys.modules[name]
    with pytest.raises(EdgeadError, match="is not a Container"):
        read_artifact(tiny)
