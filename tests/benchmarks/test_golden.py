"""The terminal report and the verdict on recorded machines, against files.

``EDGEAD_UPDATE_GOLDEN=1 pytest tests/benchmarks/test_golden.py`` writes the files again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgead.artifact import Artifact, ModelSpec
from edgead.benchmarks import html_report, report
from edgead.benchmarks.device import Device
from edgead.benchmarks.load import Load
from edgead.benchmarks.measure import Measurement
from edgead.benchmarks.memory import Peak
from edgead.benchmarks.protocol import Protocol
from edgead.benchmarks.result import to_result
from edgead.benchmarks.scenarios import Samples
from edgead.benchmarks.sensors import Kind, find_sensors
from edgead.benchmarks.sensors.sampler import Sampler
from edgead.benchmarks.system import System
from edgead.benchmarks.verdict import judge
from edgead.runtimes import RuntimeInfo
from tests.benchmarks import machines
from tests.conftest import manifest_for

GOLDEN = Path(__file__).parent / "golden"


def samples(
    inference_ms: float, count: int, transfer_ms: float | None = None, slow_down: float = 0.0
) -> Samples:
    rng = np.random.default_rng(0)
    inference = inference_ms * (1 + 0.01 * rng.gamma(2, 1, count))
    inference *= np.linspace(1, 1 + slow_down, count)
    preprocess = 1.2 + 0.02 * rng.gamma(2, 1, count)
    moved = np.full(count, transfer_ms or 0.0)
    total = preprocess + inference + 2 * moved + 0.05
    ends = np.cumsum(total + 0.002) / 1e3
    transfers = None if transfer_ms is None else tuple(moved.tolist())
    return Samples(
        started_s=tuple((ends - total / 1e3).tolist()),
        total_ms=tuple(total.tolist()),
        preprocess_ms=tuple(preprocess.tolist()),
        host_to_device_ms=transfers,
        inference_ms=tuple(inference.tolist()),
        device_to_host_ms=transfers,
        postprocess_ms=(0.05,) * count,
        frames_each=1,
        wall_s=float(ends[-1]),
    )


def measurement(
    system: System,
    steps: Callable[[], Iterator[None]],
    taken: Samples,
    runtime: RuntimeInfo,
    idle: dict[str, float] | None = None,
) -> Measurement:
    """Read the machine's sensors after each step, once a second."""
    with find_sensors(system) as sensors:
        sampler = Sampler(sensors)
        for second, _ in enumerate(steps()):
            sampler.take(float(second))
        timeline = sampler.timeline()
    return Measurement(
        protocol=Protocol(runtime=runtime.name),
        runtime=runtime,
        load_ms=182.0,
        first_inference_ms=31.5,
        warm_up_frames=60,
        samples=taken,
        frame_sizes=((1080, 1920),),
        timeline=timeline,
        idle_watts=idle or {},
        cpu=Load(own=0.97, others=0.01, stolen=0.0),
    )


ORT = RuntimeInfo("onnxruntime", "1.23.2", "CPUExecutionProvider", "Arm", "cpu", 4)
TRT = RuntimeInfo("tensorrt", "10.3.0", "TensorRT", "Orin (8.7)", "gpu", None)


def warming(root: Path, zone: str, millidegrees: list[int]) -> Callable[[], Iterator[None]]:
    def steps() -> Iterator[None]:
        for value in millidegrees:
            machines.write(root, {zone: value})
            yield

    return steps


ZONE = "sys/class/thermal/thermal_zone0/temp"


def healthy(root: Path) -> tuple[Measurement, System]:
    system = machines.raspberry_pi_5(root)
    steps = warming(root, ZONE, [52100, 55000, 57500, 58900, 59400])
    idle = {"sum of PMIC rails": 1.91}
    return measurement(system, steps, samples(13.9, 700), ORT, idle), system


def throttled_pi(root: Path) -> tuple[Measurement, System]:
    system = machines.raspberry_pi_4(root, "0x50000")  # some under-voltage since boot

    def steps() -> Iterator[None]:
        for degrees, bits, clock in (
            (61.0, "0x50000", 1800457088),
            (74.5, "0x50000", 1800457088),
            (80.3, "0x50000", 1800457088),
            (82.1, "0xd0008", 1500398464),
            (82.6, "0xf000a", 1200126976),
            (82.4, "0xe0008", 1200126976),
        ):
            files = {
                ZONE: int(degrees * 1e3),
                "answers/vcgencmdget_throttled": f"throttled={bits}",
                "answers/vcgencmdmeasure_clock": f"frequency(48)={clock}",
            }
            machines.write(root, files)
            yield

    return measurement(system, steps, samples(58.0, 150, slow_down=0.6), ORT), system


def jetson(root: Path) -> tuple[Measurement, System]:
    system = machines.jetson_orin_nano(root)
    current = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input"
    steps = warming(root, current, [1480, 2110, 2130, 2124, 2128])
    taken = samples(2.4, 3000, transfer_ms=0.11)
    return measurement(system, steps, taken, TRT, {"VDD_IN": 4.71}), system


def no_sensors(root: Path) -> tuple[Measurement, System]:
    system = machines.bare_pc(root)
    return measurement(system, warming(root, "x", [0, 0]), samples(7.2, 80), ORT), system


def test_power_of_files_that_take_turns_is_nobodys(tmp_path: Path) -> None:
    found, _ = healthy(tmp_path)
    assert found.timeline.power(on_gpu=False) is not None
    shared = found.timeline.without(Kind.POWER, "they take turns")
    assert shared.power(on_gpu=False) is None
    assert dict(shared.missing or {})["power"] == "they take turns"
    assert shared.clock(on_gpu=False) == found.timeline.clock(on_gpu=False)


def test_a_camera_that_is_kept_up_with_has_its_own_rate(tmp_path: Path) -> None:
    found, _ = healthy(tmp_path)
    frames, wall_s = found.frames, found.samples.wall_s
    for fps, expected in ((0.5 * frames / wall_s, 0.5), (2 * frames / wall_s, 1.0)):
        paced = dataclasses.replace(found, protocol=Protocol(camera_fps=fps))
        assert paced.fps == pytest.approx(expected * frames / wall_s)


@pytest.mark.parametrize(
    ("machine", "codes"),
    [
        (healthy, []),
        (throttled_pi, ["throttled", "unstable", "unstable"]),
        (jetson, []),
        (no_sensors, []),
    ],
)
def test_report_and_verdict(
    machine: Callable[[Path], tuple[Measurement, System]], codes: list[str], tmp_path: Path
) -> None:
    measured, system = machine(tmp_path)
    model = ModelSpec("efficientad-n", 2_700_000, 2.4, {})
    manifest = manifest_for(256, 256, (28, 28)).replace(model=model, precision="int8")
    artifact = Artifact(Path("efficientad-n-int8.onnx"), manifest, "3f9c" * 16, 2_840_000)
    result = to_result(measured, artifact, Peak(121.4, 214.0), Device.of(system))
    assert [reason["code"] for reason in result["reasons"]] == codes
    found = report.table(result) + "\n"
    golden = GOLDEN / f"{machine.__name__}.txt"
    if os.environ.get("EDGEAD_UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text()
    page = html_report.result_body(result, "bench")
    assert "://" not in page
    assert "NaN" not in page


def test_a_quota_that_stopped_the_process_makes_it_invalid(tmp_path: Path) -> None:
    found, system = healthy(tmp_path)
    device = Device.of(system)
    for throttled, codes in ((0.0, []), (0.005, []), (0.25, ["throttled"])):
        load = Load(own=0.4, others=0.01, stolen=0.0, throttled=throttled)
        verdict = judge(dataclasses.replace(found, cpu=load), device)
        assert [reason.code for reason in verdict.reasons] == codes
    assert "CPU quota of the container was used up in 25% of its periods" in str(verdict.reasons[0])
    assert "--threads" in verdict.reasons[0].advice
