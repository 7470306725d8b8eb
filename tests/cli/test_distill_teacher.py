from __future__ import annotations

from pathlib import Path

import pytest

from edgead import distillation
from edgead.cli import main
from edgead.distillation import DistillConfig
from edgead.distillation.changes import Changes


def test_what_is_typed_is_what_is_distilled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[DistillConfig] = []

    def record(config: DistillConfig, out: Path, device: str) -> float:
        asked.append(config)
        return 0.5

    monkeypatch.setattr(distillation, "distill_teacher", record)
    words = ["distill-teacher", "--from", "s.onnx", "--images", "p", "--out", "t.safetensors"]
    assert main(words) == 0
    shares = ["--turn", "0.1", "--grey", "0", "--blur", "0.25", "--light", "0.5"]
    assert main([*words, *shares, "--model", "efficientad-s", "--views", "3"]) == 0
    plain, changed = asked
    assert plain == DistillConfig(Path("s.onnx"), Path("p"), "n")
    assert changed.changes == Changes(grey=0, light=0.5, blur=0.25, turn=0.1)
    assert (changed.size, changed.views) == ("s", 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--blur", "2"], "--blur is a share of the views, from 0 to 1, not 2"),
        (["--light", "nan"], "--light is a share of the views, from 0 to 1, not nan"),
        (["--views", "1", "--turn", "0.5"], "--turn applies to random crops, and --views 1"),
    ],
)
def test_shares_that_cannot_be_are_refused(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["distill-teacher", "--from", "s.onnx", "--images", "p", "--out"]
    assert main([*command, str(tmp_path / "t.safetensors"), *words]) == 2
    assert complaint in capsys.readouterr().err
