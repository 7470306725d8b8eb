from __future__ import annotations

import dataclasses
import importlib.util
import platform
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgead import plugins
from edgead.artifact import Artifact, QuantizationSpec, read_artifact, write_artifact
from edgead.errors import EdgeadError, RuntimeUnavailableError, UsageError
from edgead.runtimes import Runtime, RuntimeOptions, available, open_runtime, select
from edgead.runtimes.onnxruntime import OnnxRuntime

Make = Callable[..., Artifact]


class Absent(OnnxRuntime):
    name: ClassVar[str] = "absent"
    speed_rank: ClassVar[int] = 90

    @classmethod
    def unavailable(cls) -> str | None:
        return "it is not plugged in"


class Broken(OnnxRuntime):
    name: ClassVar[str] = "broken"
    speed_rank: ClassVar[int] = 80

    def _open(self) -> None:
        raise EdgeadError("it does not start")


class FastForRed(OnnxRuntime):
    name: ClassVar[str] = "fast-for-red"
    speed_rank: ClassVar[int] = 1

    @classmethod
    def speed_rank_for(cls, artifact: Artifact) -> int:
        return 50 if artifact.path.stem == "red" else cls.speed_rank


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_runtimes(*classes: type[Runtime]) -> None:
        locations = {c.name: f"{c.__module__}:{c.__name__}" for c in classes}
        monkeypatch.setattr(select, "_locations", lambda: locations)
        select.names.cache_clear()
        select.runtime_class.cache_clear()

    yield set_runtimes
    monkeypatch.undo()
    select.names.cache_clear()
    select.runtime_class.cache_clear()


def test_auto_takes_the_first_that_works_and_says_why_not_the_others(
    tiny_artifact: Make, only: Callable[..., None]
) -> None:
    only(OnnxRuntime, Broken, Absent)
    selection = open_runtime(tiny_artifact())
    with selection.runtime as runtime:
        assert runtime.name == "onnxruntime"
    assert selection.passed_over == {
        "absent": "it is not plugged in",
        "broken": "it does not start",
    }
    assert list(available()) == ["absent", "broken", "onnxruntime"]
    assert available()["onnxruntime"] is None


@pytest.mark.parametrize(
    ("machine", "precision", "first"),
    [
        ("x86_64", "int8", "openvino"),
        ("AMD64", "int8", "openvino"),
        ("x86_64", "fp32", "onnxruntime"),
        ("x86_64", "int8-dynamic", "onnxruntime"),
        ("aarch64", "int8", "onnxruntime"),
    ],
)
def test_the_order_is_that_of_the_artifact(
    machine: str,
    precision: str,
    first: str,
    tiny_artifact: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    made = tiny_artifact()
    manifest = made.manifest.replace(precision=precision)
    found = select.order(dataclasses.replace(made, manifest=manifest))
    assert set(found) == set(select.names())
    assert next(name for name in found if name in ("openvino", "onnxruntime")) == first


def test_runtimes_that_the_threshold_belongs_to_come_first(
    tiny_artifact: Make, only: Callable[..., None]
) -> None:
    only(OnnxRuntime, FastForRed)
    made = tiny_artifact("red.onnx")
    spec = QuantizationSpec("static", "", None, 0, None, runtimes=("onnxruntime",))
    manifest = made.manifest.replace(precision="int8", quantization=spec)
    exact = write_artifact(made.path, made.path.read_bytes(), manifest)
    assert select.order(made) == ("fast-for-red", "onnxruntime")
    assert select.order(read_artifact(exact.path)) == ("onnxruntime", "fast-for-red")


def test_auto_takes_what_is_first_for_the_file(
    tiny_artifact: Make, only: Callable[..., None]
) -> None:
    only(OnnxRuntime, FastForRed)
    with open_runtime(tiny_artifact("red.onnx")).runtime as runtime:
        assert runtime.name == "fast-for-red"
    with open_runtime(tiny_artifact("blue.onnx")).runtime as runtime:
        assert runtime.name == "onnxruntime"
    assert select.names() == ("onnxruntime", "fast-for-red")


def test_when_none_works_by_name_is_used_or_it_is_an_error(
    tiny_artifact: Make, only: Callable[..., None]
) -> None:
    only(OnnxRuntime, Broken, Absent)
    with pytest.raises(RuntimeUnavailableError, match="'absent' cannot open .*not plugged in"):
        open_runtime(tiny_artifact(), "absent")
    with pytest.raises(EdgeadError, match="does not start"):
        open_runtime(tiny_artifact(), "broken")
    with pytest.raises(UsageError, match="unknown runtime 'nothing'.*absent, broken, onnxruntime"):
        open_runtime(tiny_artifact(), "nothing")


def test_when_none_works_every_reason_is_given(
    tiny_artifact: Make, only: Callable[..., None]
) -> None:
    only(Broken, Absent)
    with pytest.raises(RuntimeUnavailableError, match="not plugged in.*does not start"):
        open_runtime(tiny_artifact())


def test_infer_checks_its_input_and_its_life_cycle(tiny_artifact: Make) -> None:
    runtime = OnnxRuntime(tiny_artifact(), RuntimeOptions(threads=1))
    image = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(image)
    with runtime:
        output = runtime.infer(image)
        assert output.anomaly_map.shape == (2, 8, 8)
        assert output.score.shape == (2,)
        assert runtime.describe().threads == 1
        for wrong in (image[0], image[:, :16], image.astype(np.float32), image[:0]):
            with pytest.raises(EdgeadError, match="infer needs"):
                runtime.infer(wrong)
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(image)


def test_built_in_runtimes_need_no_metadata_and_their_names_cannot_be_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As in a checkout that runs without being installed, and beside a package that tries.
    for found in ([], [EntryPoint("onnxruntime", "theirs:Theirs", select.ENTRY_POINT_GROUP)]):
        monkeypatch.setattr(plugins, "entry_points", lambda group, found=found: found)
        select._locations.cache_clear()
        select.runtime_class.cache_clear()
        assert set(select._locations()) == {"onnxruntime", "openvino", "tensorrt"}
        assert select.runtime_class("onnxruntime") is OnnxRuntime
    select._locations.cache_clear()


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        RuntimeOptions(threads=0)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("a_package_that_is_gone:Theirs", "No module named 'a_package_that_is_gone'"),
        ("wrong_syntax:Theirs", "SyntaxError"),
        ("raising:Theirs", "OSError: libtheirs.so: cannot open shared object file"),
        ("raising_exit:Theirs", "SystemExit"),
        ("theirs:Missing", "AttributeError"),
        ("theirs:function", "is not a subclass of edgead.runtimes.Runtime"),
        ("theirs:Abstract", "lacks _close, _describe, _infer, _open, name, speed_rank, unavai"),
    ],
)
def test_a_runtime_whose_package_is_broken_does_not_stop_the_others(
    where: str,
    said: str,
    tiny_artifact: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only: Callable[..., None],
) -> None:
    (tmp_path / "wrong_syntax.py").write_text("class Theirs(:\n")
    library = "libtheirs.so: cannot open shared object file"
    (tmp_path / "raising.py").write_text(f"raise OSError({library!r})\n")
    (tmp_path / "raising_exit.py").write_text("raise SystemExit(5)\n")
    text = "from edgead.runtimes import Runtime\nclass Abstract(Runtime): ...\n"
    (tmp_path / "theirs.py").write_text(f"{text}def function(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    only(OnnxRuntime)
    locations = {**select._locations(), "theirs": where}
    monkeypatch.setattr(select, "_locations", lambda: locations)
    with open_runtime(tiny_artifact()).runtime as runtime:
        assert runtime.name == "onnxruntime"
    assert said in str(available()["theirs"])
    with pytest.raises(RuntimeUnavailableError, match=where):
        open_runtime(tiny_artifact(), "theirs")
    for name in ("wrong_syntax", "raising", "raising_exit", "theirs"):
        sys.modules.pop(name, None)


def test_packages_that_bring_a_runtime_under_one_name(
    monkeypatch: pytest.MonkeyPatch, only: Callable[..., None]
) -> None:
    points = [EntryPoint("npu", value, select.ENTRY_POINT_GROUP) for value in ("a:A", "b:B")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    select._locations.cache_clear()
    assert "under the same name: keep one of the packages" in str(available()["npu"])
    monkeypatch.undo()
    select._locations.cache_clear()
    select.names.cache_clear()
    select.runtime_class.cache_clear()


def test_an_installed_runtime_that_cannot_be_imported_says_why(
    tiny_artifact: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it fails
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert OnnxRuntime.unavailable() is None
    assert "cannot be imported" in str(OnnxRuntime.broken())
    with pytest.raises(RuntimeUnavailableError, match="cannot be imported"):
        open_runtime(tiny_artifact(), "onnxruntime")
