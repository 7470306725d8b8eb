from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.errors import UsageError
from edgead.line.config import StationConfig
from edgead.line.errors import OutputError, SourceError
from edgead.line.mailbox import MOST_WAITING
from edgead.line.monitor import Monitor
from edgead.line.notify import Notifier
from edgead.line.sources.base import Grabbed
from edgead.line.state import StateFile
from edgead.line.station import Station
from edgead.line.triggers.base import Fire, Trigger
from tests.line.judged import until
from tests.line.parts import BAD, GOOD, THRESHOLD, Camera, Collected, Nothing


class ByHand(Trigger):
    Options = Nothing

    def __init__(self) -> None:
        super().__init__(Nothing(), "line")

    def start(self, fire: Fire) -> None:
        self.fire = fire

    def stop(self) -> None:
        pass


@pytest.fixture
def config(tiny_artifact: Callable[..., Artifact]) -> StationConfig:
    return StationConfig(tiny_artifact().path, threshold=THRESHOLD, threads=1, stale_s=0.4)


@contextmanager
def running(station: Station) -> Iterator[Station]:
    """A station with the monitor that looks after it."""
    monitor = Monitor([station], Notifier({}))
    with station:
        monitor.start()
        try:
            yield station
        finally:
            monitor.stop()


def test_frames_of_a_program_get_the_detectors_verdicts(config: StationConfig) -> None:
    output = Collected()
    frames = [GOOD, BAD, GOOD]
    with running(Station(config, source=frames, outputs=[output])) as station:
        assert station.wait(10)
        until(lambda: len(output.verdicts) == 3)
        status = station.status()
    assert output.states[:4] == ["open", "good", "anomaly", "good"]
    assert output.states[-1] == "close"
    with EdgeDetector(config.artifact, threshold=THRESHOLD) as detect:
        detections = [detect(frame) for frame in frames]
    for number, (verdict, detection) in enumerate(zip(output.verdicts, detections, strict=True), 1):
        assert (verdict.number, verdict.frame) == (number, f"frame {number}")
        assert (verdict.score, verdict.regions) == (detection.score, detection.regions)
        assert verdict.artifact_sha256 == status.artifact_sha256
    assert status.verdicts == {"good": 2, "anomaly": 1, "failure": 0}
    assert [one.state for one in station.history()] == ["good", "anomaly", "good"]
    (defect,) = station.defects()
    assert np.array_equal(defect.picture, BAD)
    assert set(status.latency_ms) == {"wait", "preprocess", "inference", "postprocess", "total"}


def test_a_frame_that_cannot_be_scored_is_a_failure_and_the_next_is_judged(
    config: StationConfig,
) -> None:
    output = Collected()
    wrong = np.zeros((4, 4), np.float32)
    with running(Station(config, source=[GOOD, wrong, GOOD], outputs=[output])):
        until(lambda: len(output.verdicts) == 3)
    assert [verdict.state for verdict in output.verdicts] == ["good", "failure", "good"]
    assert "float32" in (output.verdicts[1].reason or "")
    assert output.verdicts[1].score is None


def test_only_the_newest_frame_of_a_camera_is_judged(config: StationConfig) -> None:
    camera, output = Camera(), Collected()
    slow = replace(config, rate=5, stale_s=5)
    with running(Station(slow, source=camera, outputs=[output])) as station:
        camera.show(GOOD)
        until(lambda: output.verdicts)
        for _ in range(20):
            camera.show(BAD)
        until(lambda: station.status().parts[0].done == 21)
        time.sleep(1 / slow.rate)  # frames of before do not count
        camera.show(GOOD)
        until(lambda: len(output.verdicts) == 2)
        assert station.status().parts[0].lost >= 19
    assert [verdict.state for verdict in output.verdicts] == ["good", "good"]


def test_each_trigger_gets_one_verdict_of_the_first_frame_after_it(config: StationConfig) -> None:
    camera, trigger, output = Camera(), ByHand(), Collected()
    station = Station(
        replace(config, late_ms=200), source=camera, trigger=trigger, outputs=[output]
    )
    with running(station):
        camera.show(BAD)
        until(lambda: station.status().parts[0].done == 1)
        assert trigger.fire()
        camera.show(GOOD)
        until(lambda: len(output.verdicts) == 1)
        camera.show(BAD)  # nobody asked
        until(lambda: station.status().parts[0].done == 3)
        assert trigger.fire()  # and no frame comes
        until(lambda: len(output.verdicts) == 2)
        status = station.status()
    first, second = output.verdicts
    assert first.state == "good"
    assert (second.state, second.score) == ("failure", None)
    assert "no frame" in (second.reason or "")
    assert (status.late, status.missed) == (1, 0)


def test_a_frame_that_was_taken_before_the_trigger_is_passed_over(config: StationConfig) -> None:
    camera, output, trigger = Camera(), Collected(), ByHand()
    configured = replace(config, late_ms=2000, camera_ms=150)
    with Station(configured, source=camera, outputs=[output], trigger=trigger) as station:
        trigger.fire()
        camera.show(GOOD)  # of the part before
        until(lambda: station.status().parts[0].done == 1)
        time.sleep(0.15)
        camera.show(BAD)
        until(lambda: output.verdicts)
        assert (output.verdicts[0].state, output.verdicts[0].frame) == ("anomaly", "frame 2")


def test_triggers_that_find_no_room_are_rejected_in_their_turn(config: StationConfig) -> None:
    camera, trigger, output = Camera(), ByHand(), Collected()
    station = Station(
        replace(config, late_ms=100), source=camera, trigger=trigger, outputs=[output]
    )
    with running(station):
        count = MOST_WAITING + 10
        taken = sum(trigger.fire() for _ in range(count))
        until(lambda: len(output.verdicts) == count)
        status = station.status()
    assert status.missed == count - taken > 0
    assert status.late == taken
    assert {verdict.state for verdict in output.verdicts} == {"failure"}
    assert [verdict.number for verdict in output.verdicts] == list(range(1, count + 1))
    assert "too many" in (output.verdicts[-1].reason or "")


def test_a_camera_that_is_lost_rejects_until_it_is_back(
    config: StationConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    camera, output = Camera(), Collected()
    with running(Station(config, source=camera, outputs=[output])) as station:
        camera.show(GOOD)
        until(lambda: output.states[-1] == "good")
        camera.is_absent = True
        camera.frames.put(SourceError("the cable is loose"))
        until(lambda: output.states[-1].startswith("fail: "))
        until(lambda: station.status().fault == "the camera was unplugged")
        camera.is_absent = False
        camera.show(BAD)
        until(lambda: output.states[-1] == "anomaly")
        assert station.status().fault is None
        camera.show(GOOD)
        until(lambda: output.states[-1] == "good")
        until(lambda: "no frame" in output.states[-1])  # it says nothing any more
    told = [state for state in output.states if not state.startswith("fail: ")]
    assert told == ["open", "good", "recover", "anomaly", "good", "close"]
    printed = capsys.readouterr().err
    assert "the source gives frames again, after" in printed
    assert "line: judging again" in printed


def test_a_frozen_picture_is_not_judged(config: StationConfig) -> None:
    camera, output = Camera(), Collected()
    station = Station(replace(config, frozen_frames=4), source=camera, outputs=[output])
    with running(station):
        for _ in range(3):
            camera.show(GOOD)
        for _ in range(6):
            camera.frames.put(GOOD)
        until(lambda: any("frozen" in state for state in output.states))
        until(camera.frames.empty)
        judged = len(output.verdicts)
        assert station.status().parts[0].errors > 1  # it was opened again, and is still frozen
        camera.show(GOOD)
        until(lambda: len(output.verdicts) == judged + 1)
    assert judged <= 6
    assert output.verdicts[-1].state == "good"


def test_settings_that_differ_from_the_last_start_reject_until_they_are_accepted(
    config: StationConfig, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"

    def reason(exposure: float) -> str | None:
        camera, output = Camera({"exposure": exposure, "width": 90}), Collected()
        with running(Station(config, source=camera, outputs=[output], state=StateFile(path))):
            camera.show(GOOD)
            until(lambda: output.verdicts)
        return output.verdicts[0].reason

    assert reason(120) is None
    assert "exposure was 120 and is 90" in (reason(90) or "")
    assert reason(120) is None
    StateFile(path).change("line", settings={})
    assert reason(90) is None


def test_a_control_output_that_fails_rejects_everywhere(config: StationConfig) -> None:
    camera, gate, other = Camera(), Collected(), Collected()
    with running(Station(config, source=camera, outputs=[gate, other])):
        camera.show(GOOD)
        until(lambda: other.states[-1] == "good")
        gate.problem = OutputError("the relay does not answer")
        camera.show(GOOD)
        until(lambda: any("the relay does not answer" in state for state in other.states))
        gate.problem = None
        camera.show(GOOD)
        until(lambda: gate.states[-1] == "good" == other.states[-1])
    told = [state for state in other.states if state.startswith("fail: output 1")]
    assert told


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_loop_that_breaks_rejects_and_says_so(
    config: StationConfig, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, camera = Collected(), Camera()
    station = Station(config, source=camera, outputs=[output])

    def broken(*_: object) -> None:
        raise error("it broke")

    monkeypatch.setattr(station._records, "add", broken)
    with running(station):
        camera.show(GOOD)
        assert station.wait(10)
        until(lambda: output.states[-1].startswith("fail"))
    assert error.__name__ in str(station.broken)
    assert station.status().fault == station.broken


def test_a_station_that_has_ended_takes_its_last_verdict_back(config: StationConfig) -> None:
    output = Collected()
    with running(Station(config, source=[GOOD], outputs=[output])) as station:
        until(lambda: "fail: the station has ended" in output.states)
        assert (output.verdicts[0].state, station.status().fault) == ("good", None)


def test_a_camera_that_hangs_is_seen_where_triggers_ask_for_frames(config: StationConfig) -> None:
    class Hanging(Camera):
        def read(self, timeout_s: float) -> Grabbed | None:
            if self.shown:
                time.sleep(1.0)
            self.shown = True
            return Grabbed(GOOD, time.monotonic(), "frame")

    camera, output = Hanging(), Collected()
    camera.shown = False
    with running(Station(config, source=camera, outputs=[output], trigger=ByHand())) as station:
        until(lambda: output.states[-1].startswith("fail: no frame came"))
        assert "no frame came" in str(station.status().fault)


def test_a_trigger_that_cannot_start_leaves_nothing_running(config: StationConfig) -> None:
    class Absent(ByHand):
        def start(self, fire: Fire) -> None:
            raise SourceError("the line is in use")

        def stop(self) -> None:
            raise RuntimeError("it was not started")

    output = Collected()
    station = Station(config, source=Camera(), outputs=[output], trigger=Absent())
    with pytest.raises(SourceError, match="in use"), station:
        pass
    assert output.states[-1] == "close"


def test_a_folder_of_recipes_that_is_not_there_is_refused(config: StationConfig) -> None:
    with pytest.raises(UsageError, match=r"recipes = .*none' is no folder"):
        Station(replace(config, recipes=config.artifact.parent / "none"), source=[])


def test_frames_that_come_when_they_want_have_no_trigger(config: StationConfig) -> None:
    # The frame of one part would wait for the trigger of the next.
    with pytest.raises(UsageError, match="leave out the trigger"):
        Station(config, source=[GOOD], trigger=ByHand())


def test_a_score_that_is_no_number_is_a_failure(
    config: StationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Collected()
    station = Station(config, source=[GOOD], outputs=[output])
    score = station._in_use.score
    scored = score(GOOD)
    wrong = replace(scored, detection=replace(scored.detection, score=math.nan))
    monkeypatch.setattr(station._in_use, "score", lambda _: wrong)
    with running(station):
        assert station.wait(10)
        until(lambda: output.verdicts)
    assert (output.verdicts[0].state, output.verdicts[0].score) == ("failure", None)


@pytest.fixture
def recipes(config: StationConfig, tiny_artifact: Callable[..., Artifact]) -> StationConfig:
    """Two recipes: one that calls nothing an anomaly, and one that cannot be opened."""
    folder = config.artifact.parent / "recipes"
    folder.mkdir()
    tiny_artifact("low.onnx", bias=-1.0).path.rename(folder / "low.onnx")
    (folder / "broken.onnx").write_bytes(b"half a fi")
    file = folder.parent / "recipe.txt"
    # A machine that is so busy that a frame takes longer makes the station reject, rightly.
    return replace(config, recipes=folder, recipe_file=file, threshold=None, stale_s=10.0)


def test_a_recipe_is_changed_while_it_runs_and_after_a_restart(
    recipes: StationConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera, output, path = Camera(), Collected(), tmp_path / "state.json"

    def judged() -> str:
        count = len(output.verdicts)
        camera.show(BAD)
        until(lambda: len(output.verdicts) > count)
        return output.verdicts[-1].state

    with running(Station(recipes, source=camera, outputs=[output], state=StateFile(path))) as line:
        assert line.status().recipes == ("broken.onnx", "low.onnx")
        assert judged() == "anomaly"
        with pytest.raises(UsageError, match=r"did you mean 'low.onnx'\?"):
            line.switch("low.onx")
        with pytest.raises(UsageError, match="no recipe"):
            line.switch("../tiny.onnx")
        line.switch("broken.onnx")
        until(lambda: line.status().faults)
        assert judged() == "anomaly"
        line.switch("low.onnx")
        until(lambda: line.status().artifact == "low.onnx")
        assert judged() == "good"
        until(lambda: line.status().faults == ())
        line.set_threshold(-2.0)
        assert judged() == "anomaly"
    assert "broken.onnx" in capsys.readouterr().err
    with Station(recipes, source=[BAD], state=StateFile(path)) as line:
        assert line.wait(10)
        assert (line.status().artifact, line.status().threshold) == ("low.onnx", -2.0)
    assert line.newest().verdict.artifact == "low.onnx"
    # Whoever changes the configuration gets what it says.
    changed = replace(recipes, threshold=0.25)
    station = Station(changed, source=[], state=StateFile(path))
    assert (station.status().artifact, station.status().threshold) == ("low.onnx", 0.5)
    station.stop()


def test_a_recipe_that_was_in_use_and_is_gone_rejects_until_one_is_chosen(
    recipes: StationConfig, tmp_path: Path
) -> None:
    assert recipes.recipes is not None
    path = tmp_path / "state.json"
    with Station(recipes, source=Camera(), state=StateFile(path)) as line:
        line.switch("low.onnx")
        until(lambda: line.status().artifact == "low.onnx")
    file = (recipes.recipes / "low.onnx").rename(tmp_path / "low.onnx")
    for _ in range(2):  # a restart changes nothing
        with Station(recipes, source=[GOOD], state=StateFile(path)) as line:
            assert line.wait(10)
        assert line.newest().verdict.state == "failure"
        assert "no recipe 'low.onnx'" in str(line.newest().verdict.reason)
    camera, output = Camera(), Collected()
    with Station(recipes, source=camera, outputs=[output], state=StateFile(path)) as line:
        file.rename(recipes.recipes / "low.onnx")
        line.switch("low.onnx")
        until(lambda: line.status().artifact == "low.onnx")
        camera.show(GOOD)
        until(lambda: output.states[-1] == "good")


def test_a_file_names_the_recipe(recipes: StationConfig, tmp_path: Path) -> None:
    assert recipes.recipe_file is not None
    state = StateFile(tmp_path / "state.json")
    with Station(recipes, source=Camera(), state=state) as station:
        assert station.status().artifact == "tiny.onnx"
        recipes.recipe_file.write_text("broken.onnx\n")
        until(lambda: station.status().faults)
        recipes.recipe_file.write_text("low.onnx\n")
        until(lambda: station.status().artifact == "low.onnx")
        recipes.recipe_file.write_text("no.onnx\n")
        until(lambda: station.status().faults)
        assert station.status().artifact == "low.onnx"

    def artifact() -> str:
        station = Station(recipes, source=[], state=StateFile(tmp_path / "state.json"))
        station.stop()
        return station.status().artifact

    assert artifact() == "low.onnx"
    recipes.recipe_file.write_text("broken.onnx\n")
    assert artifact() == "low.onnx"  # what was in use
    (tmp_path / "state.json").unlink()
    assert artifact() == "tiny.onnx"  # the configured one
    recipes.recipe_file.write_text("low.onnx\n")
    assert [artifact(), artifact()] == ["low.onnx", "low.onnx"]


def test_an_artifact_for_another_product_is_refused(config: StationConfig) -> None:
    Station(replace(config, product="parts"), source=[]).stop()
    with pytest.raises(UsageError, match=r"another product.*'parts'.*product = 'bottle'"):
        Station(replace(config, product="bottle"), source=[])
