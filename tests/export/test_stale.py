from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgead.artifact import read_artifact, write_artifact
from edgead.export import ExportOptions, export
from tests.conftest import manifest_for, tiny_model


def test_files_of_another_training_are_named_and_left(
    exported: Path, shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = read_artifact(exported).manifest
    data = exported.read_bytes()
    there = here.replace(source_sha256="f" * 64)
    others = {
        "efficientad-n.onnx": there,  # replaced by the export
        "old.onnx": there,
        "efficientad-n-int8.onnx": there.replace(precision="int8"),
        "efficientad-n-fp16.onnx": there.replace(precision="fp16"),
        "efficientad-n-int8-dynamic.onnx": here.replace(precision="int8-dynamic"),
    }
    for name, manifest in others.items():
        write_artifact(tmp_path / name, data, manifest)
    write_artifact(tmp_path / "tiny.onnx", tiny_model(), manifest_for(32, 32, (8, 8)))
    (tmp_path / "broken.onnx").write_bytes(b"no")
    shutil.copy(exported, tmp_path / "renamed.onnx")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    export(exported, tmp_path, ExportOptions(calibration=str(shared_dataset / "train/good")))
    lines = [line for line in capsys.readouterr().err.splitlines() if "another training" in line]
    assert [line.split()[1] for line in lines] == [
        str(tmp_path / "efficientad-n-fp16.onnx"),
        str(tmp_path / "efficientad-n-int8.onnx"),
        str(tmp_path / "old.onnx"),
    ]
    assert "export again with --fp16, or move it away" in lines[0]
    assert "export again with --int8 static, or move it away" in lines[1]
    assert lines[2].endswith("): move it away")
    kept = set(before) - {"efficientad-n.onnx"}
    assert all((tmp_path / name).read_bytes() == before[name] for name in kept)
