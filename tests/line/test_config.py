from __future__ import annotations

from pathlib import Path

import pytest

from edgead.cli import _commands, main
from edgead.cli.run import configuration
from edgead.line.config import LineConfig, place_of, table_of, with_values
from edgead.line.errors import ConfigError
from edgead.line.options import Place
from edgead.line.sources.camera import CameraOptions
from tests.conftest import part, write_photo

LINE = """
[serve]
address = "127.0.0.1:0"
[[station]]
name = "left"
artifact = "bottle.onnx"
recipes = "recipes"
rate = 10
source = { kind = "camera", device = "/dev/video2", width = 640, height = 480, exposure = 120 }
[[station.output]]
kind = "print"
[[station]]
name = "right"
artifact = "/models/cap.onnx"
late_ms = 80
source = { kind = "rtsp", url = "rtsp://camera/1", transport = "udp" }
trigger = { kind = "http" }
"""


def read(text: str, folder: Path) -> LineConfig:
    path = folder / "line.toml"
    path.write_text(text)
    return LineConfig.from_table(table_of(path), place_of(path))


def configured(*words: object) -> LineConfig:
    return configuration(_commands.parsed(["run", *map(str, words)]))


def test_a_configuration_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    config = read(LINE, tmp_path)
    left, right = config.stations
    assert left.artifact == tmp_path / "bottle.onnx"
    assert left.source.options == CameraOptions("/dev/video2", 640, 480, exposure=120.0)
    assert (left.rate, right.late_ms, right.trigger.kind) == (10.0, 80.0, "http")
    assert config.state == tmp_path / "line-state.json"
    assert read(config.to_toml(tmp_path), tmp_path) == config


WRONG = {
    "typo": ("late_ms = 80", "lates_ms = 80", "station 2", "'lates_ms'", "'late_ms'"),
    "typo of a part": ("exposure = 120", "exposur = 120", "source", "'exposur'", "'exposure'"),
    "kind": ('kind = "rtsp"', 'kind = "rtps"', "no source", "'rtps'", "'rtsp'"),
    "no kind": ('kind = "print"', "", "output 1", "needs kind", "mqtt"),
    "type": ("rate = 10", 'rate = "fast"', "rate must be a finite number", "'fast' (text)"),
    "bool": ("rate = 10", "rate = true", "rate must be a finite number", "(true or false)"),
    "bounds": ("rate = 10", "rate = 0", "station 1", "rate must be above 0"),
    "word": ('"udp"', '"UPD"', "transport cannot be 'UPD'", "there are tcp, udp"),
    "name": ('"right"', '"left"', "two stations have the name 'left'"),
    "characters": ('"right"', '"../x"', "name must be 1 to 40 of a-z"),
    "address": ('"127.0.0.1:0"', '"8080"', "serve", "HOST:PORT"),
    "both": ("late_ms = 80", "late_ms = 80\nrate = 2", "rate is for a station without a trigger"),
    "missing": ('artifact = "bottle.onnx"', "", "the key 'artifact' is missing"),
    "latency": ("late_ms = 80", "late_ms = 80\ncamera_ms = 80", "less than late_ms (80)"),
    "TOML": ("[serve]", "[serve", "is not valid TOML", "line 2"),
    "large": ("rate = 10", f"rate = {'9' * 400}", "rate must be a finite number"),
    "digits": ("rate = 10", f"rate = {'9' * 5000}", "is not valid TOML"),
    "deep": ("rate = 10", f"rate = {'[' * 5000}", "is not valid TOML", "too deeply"),
    "brackets": (LINE, "station = 5", "[[station]]"),
    "list": (LINE, "station = [1]", "[[station]]"),
    "number": (LINE, "serve = 5", "[serve]"),
    "no page": ('[serve]\naddress = "127.0.0.1:0"', "", "trigger http of station 'right'", "serve"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, *expected = WRONG[name]
    path = tmp_path / "line.toml"
    path.write_text(LINE.replace(old, new))
    assert main(["run", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "line.toml" in line
    assert all(words in line for words in expected), line


def test_options_are_keys_and_win_over_the_file(tmp_path: Path) -> None:
    artifact = tmp_path / "bottle.onnx"
    config = configured(
        *(artifact, "--source", tmp_path, "--rate", "5", "--threshold", "0.5"),
        *("--output", "print", "--serve", "0.0.0.0:80", "--threads", "1"),
        *("--set", "source.watch=false", "--set", "late_ms=20", "--set", "state=s.json"),
    )
    (station,) = config.stations
    assert (station.source.kind, station.source.options.path) == ("folder", tmp_path)
    assert (station.source.options.watch, station.late_ms, station.rate) == (False, 20.0, 5.0)
    assert (station.threshold, station.threads, config.serve.address) == (0.5, 1, "0.0.0.0:80")
    assert config.state == Path.cwd() / "s.json"
    path = tmp_path / "line.toml"
    path.write_text(config.to_toml(tmp_path))
    again = configured(path, "--source", "/dev/video7", "--set", "source.width=320")
    assert again.stations[0].source.options == CameraOptions("/dev/video7", 320)
    assert (again.stations[0].late_ms, again.state) == (20.0, config.state)


def test_one_station_of_several_is_set_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(LINE)
    table = with_values(
        table_of(tmp_path / "line.toml"),
        [("right.late_ms", "9"), ("stale_s", "1"), ("left.output.1.kind", "mqtt")],
    )
    left, right = table["station"]
    assert (left.get("late_ms"), right["late_ms"]) == (None, "9")
    assert (left["stale_s"], right["stale_s"]) == ("1", "1")
    assert left["output"][0]["kind"] == "mqtt"
    with pytest.raises(ConfigError, match=r"left\.output\.2\.kind: there is nothing at '2'"):
        with_values(table, [("left.output.2.kind", "mqtt")])


@pytest.mark.parametrize(
    ("text", "kind", "key", "value"),
    [
        ("0", "camera", "device", 0),
        ("/dev/video3", "camera", "device", "/dev/video3"),
        ("rtsp://u:p@host/1", "rtsp", "url", "rtsp://u:p@host/1"),
        ("picamera2:1", "picamera2", "camera", 1),
        ("aravis", "aravis", "camera", None),
        ("aravis:Basler-12", "aravis", "camera", "Basler-12"),
        ("camera:device=2,fps=25", "camera", "fps", 25.0),
    ],
)
def test_a_source_is_one_word(text: str, kind: str, key: str, value: object) -> None:
    source = configured("a.onnx", "--source", text).stations[0].source
    assert (source.kind, getattr(source.options, key)) == (kind, value)


def test_what_is_no_source_and_no_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo(tmp_path / "part.png", part(0))
    for words, expected in (
        (["--source", str(photo)], "is a photo: give its folder"),
        (["--source", "nowhere.mp4"], "no such camera, folder or file"),
        (["--source", "0", "--set", "laet_ms=3"], "'laet_ms'; did you mean 'late_ms'?"),
        (["--source", "0", "--output", "mqtt:host"], "KIND:key=value"),
        ([], "give --source"),
    ):
        assert main(["run", "a.onnx", *words]) == 2
        assert expected in capsys.readouterr().err
    (tmp_path / "line.toml").write_text(LINE)
    assert main(["run", str(tmp_path / "line.toml"), "--rate", "3"]) == 2
    assert "--set STATION.rate" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no.toml: No such file"):
        table_of(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="must be a table"):
        LineConfig.from_table({"station": ["x"]}, Place(tmp_path, "line.toml"))
