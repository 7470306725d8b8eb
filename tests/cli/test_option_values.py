from __future__ import annotations

import argparse

import pytest

from edgead.benchmarks import frames
from edgead.cli import _options, main, models
from edgead.errors import UsageError


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x", "2147483648", "9" * 5000])
def test_what_no_library_can_count_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number above 0") as refused:
        _options.positive_int(text)
    assert len(str(refused.value)) < 150


def test_seeds_are_what_torch_takes() -> None:
    assert _options.seed("0") == 0
    assert _options.seed("9223372036854775807") == 2**63 - 1
    for text in ("-1", "9223372036854775808", "0x1"):
        with pytest.raises(argparse.ArgumentTypeError, match="seed"):
            _options.seed(text)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "a.onnx", "a.png", "--json", ""],
        ["predict", "a.onnx", "a.png", ""],
        ["info", ""],
        ["bench", "a.onnx", "--compare", "a.json", ""],
    ],
)
def test_a_variable_that_a_script_did_not_set(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "is empty; is a variable" in capsys.readouterr().err


def test_frames_larger_than_any_cameras_are_refused() -> None:
    with pytest.raises(UsageError, match="100000x100000 are larger than 75 megapixels"):
        frames.generated((100_000, 100_000))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.64 TiB for an array"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nOf the allocated memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4 bytes"),
    ],
)
def test_too_little_memory_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(models, "run", run)
    assert main(["models"]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("edgead: error: not enough memory (")


def test_a_fault_of_ours_stays_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_args: argparse.Namespace) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(models, "run", run)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["models"])
