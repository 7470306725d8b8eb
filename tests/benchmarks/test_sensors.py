from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgead.benchmarks.device import Device
from edgead.benchmarks.load import CpuTimes, Load
from edgead.benchmarks.sensors import Kind, SensorError, find_sensors, jetson, nvml, rapl, raspberry
from edgead.benchmarks.sensors.sampler import Sampler
from edgead.benchmarks.system import System
from tests.benchmarks import machines


def named(system: System, name: str) -> float:
    (sensor,) = (s for s in find_sensors(system).sensors if s.name == name)
    return sensor.read()


def test_both_texts_of_the_pis_power_chip() -> None:
    # Rails without a current (the 5 V input, the clock's battery) do not count.
    assert raspberry.rail_watts(machines.PMIC_SHORT) == pytest.approx(0.9 * 2.4 + 3.3 * 0.1)
    expected = 0.06636165 * 3.311056 + 2.4 * 0.9 + 0.0151404 * 5.1495
    assert raspberry.rail_watts(machines._PMIC_LONG) == pytest.approx(expected)
    with pytest.raises(SensorError):
        raspberry.rail_watts("error=1 Command not registered")


def test_a_pi_4_has_no_power_and_says_why(tmp_path: Path) -> None:
    found = find_sensors(machines.raspberry_pi_4(tmp_path))
    assert not [sensor for sensor in found.sensors if sensor.kind is Kind.POWER]
    assert "external meter" in found.missing["power"]
    assert named(System(tmp_path), "arm (firmware)") == pytest.approx(1800.457)


def test_sticky_bits_count_only_when_they_are_new(tmp_path: Path) -> None:
    system = machines.raspberry_pi_4(tmp_path, "0x10000")
    (watch,) = find_sensors(system).watches
    assert watch.history == (raspberry.UNDER_VOLTAGE,)
    assert watch.read() == frozenset()

    def say(bits: str) -> frozenset[str]:
        machines.write(tmp_path, {"answers/vcgencmdget_throttled": f"throttled={bits}"})
        return watch.read()

    assert say("0x10001") == {raspberry.UNDER_VOLTAGE}  # live, though it had happened before
    assert say("0x50000") == {"the firmware throttles the CPU"}  # came and went between two looks
    assert say("0x50002") >= {"the firmware capped the CPU's clock"}
    assert say("nonsense") == frozenset()


def test_a_pi_without_the_right_to_ask_says_what_to_do(tmp_path: Path) -> None:
    system = machines.raspberry_pi_4(tmp_path)
    machines.write(tmp_path, {"answers/vcgencmdget_throttled": "Can't open device file: /dev/vcio"})
    assert "group 'video'" in find_sensors(system).missing["throttling"]
    (tmp_path / "usr/bin/vcgencmd").unlink()
    assert "raspi-utils" in find_sensors(system).missing["throttling"]


def test_jetson_rails_are_found_by_name(tmp_path: Path) -> None:
    system = machines.jetson_orin_nano(tmp_path)
    found = find_sensors(system)
    power = {s.name: s.read() for s in found.sensors if s.kind is Kind.POWER}
    assert power == {"VDD_IN": pytest.approx(7.4), "VDD_CPU_GPU_CV": pytest.approx(2.08)}
    assert named(system, "GPU (17000000.gpu)") == pytest.approx(624.75)
    with pytest.raises(SensorError, match="switched off"):
        named(system, "cv0-thermal")
    machines.write(tmp_path, {"sys/class/hwmon/hwmon5/oc3_event_cnt": 3})
    alarm = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_crit_alarm"
    machines.write(tmp_path, {alarm: 1})
    events = frozenset().union(*(watch.read() for watch in found.watches))
    assert any("oc3_event_cnt" in event for event in events)
    assert any("VDD_IN" in event for event in events)
    # A counter that has not grown since is no longer news; an alarm that stands is.
    events = frozenset().union(*(watch.read() for watch in found.watches))
    assert not any("oc3_event_cnt" in event for event in events)
    assert any("VDD_IN" in event for event in events)


def test_rails_without_a_board_input_are_summed_and_called_a_sum(tmp_path: Path) -> None:
    system = machines.jetson_orin_nano(tmp_path)
    shutil.rmtree(tmp_path / "sys/bus")
    node = "sys/bus/i2c/drivers/x/1-0040/iio:device0"  # not where JetPack 4 has them
    machines.write(tmp_path, {f"{node}/rail_name_0": "LOST", f"{node}/in_power0_input": 1})
    node = "sys/bus/i2c/devices/1-0040/iio:device0"
    for channel, name in enumerate(("GPU", "CPU", "NC")):
        machines.write(
            tmp_path,
            {f"{node}/rail_name_{channel}": name, f"{node}/in_power{channel}_input": 1500},
        )
    assert named(system, "sum of rails GPU + CPU") == pytest.approx(3.0)


def test_tegrastats_where_no_rail_is_readable(tmp_path: Path) -> None:
    rails, zones = jetson.parse_tegrastats(machines.TEGRASTATS)
    assert rails == {"VDD_IN": 4.572, "VDD_CPU_GPU_CV": 0.517, "VDD_SOC": 1.395}
    assert set(zones) == {"cpu", "soc2", "gpu", "tj"}
    rails, zones = jetson.parse_tegrastats(machines.TEGRASTATS_NANO)
    assert rails == {"POM_5V_IN": 2.042, "POM_5V_GPU": 0.124, "POM_5V_CPU": 0.29}
    assert zones["CPU"] == 34.5

    system = machines.jetson_orin_nano(tmp_path)
    shutil.rmtree(tmp_path / "sys/bus")
    path = tmp_path / "usr/bin/tegrastats"
    path.write_text(f"#!/bin/sh\necho '{machines.TEGRASTATS}'\nexec sleep 60\n")
    path.chmod(0o755)
    with find_sensors(system) as found:
        power = {s.name: s.read() for s in found.sensors if s.kind is Kind.POWER}
        assert power["VDD_IN"] == pytest.approx(4.572)
    listing = subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
    assert str(path) not in listing


def test_energy_counters_wrap_and_belong_to_root(tmp_path: Path) -> None:
    node = "sys/class/powercap/intel-rapl:0"
    files = {f"{node}/name": "package-0", f"{node}/max_energy_range_uj": 1_000_000_000}
    system = machines.write(tmp_path, {**files, f"{node}/energy_uj": 990_000_000})
    clock = iter([0.0, 2.0])
    counter = rapl.Counter(tmp_path / node, lambda: next(clock))
    machines.write(tmp_path, {f"{node}/energy_uj": 10_000_000})
    assert counter.watts() == pytest.approx(20 / 2)
    (tmp_path / node / "energy_uj").unlink()
    (tmp_path / node / "energy_uj").mkdir()  # as good as forbidden, also for root
    assert "sudo" in find_sensors(system).missing["power"]


def test_nothing_there_is_not_available_and_never_zero(tmp_path: Path) -> None:
    found = find_sensors(machines.bare_pc(tmp_path))
    assert not found.sensors
    assert not found.watches
    assert set(found.missing) == {"temperature", "clock", "power", "throttling"}


def test_a_sensor_that_fails_is_left_alone(tmp_path: Path) -> None:
    system = machines.raspberry_pi_4(tmp_path)
    zone = "sys/class/thermal/thermal_zone0/temp"
    sampler = Sampler(find_sensors(system))
    sampler.take(0.0)
    for at in range(1, 5):
        machines.write(tmp_path, {zone: "" if at < 4 else 50000})
        sampler.take(float(at))
    timeline = sampler.timeline()
    assert timeline.hottest() == (48.312, None, None, None, None)
    (tmp_path / zone).unlink()
    (tmp_path / zone).mkdir()
    unreadable = Sampler(find_sensors(system))
    unreadable.take(0.0)
    said = (unreadable.timeline().missing or {})["temperature"]
    assert "thermal_zone0" in said
    assert "cannot be read" in said


def test_kernel_limits_and_intels_counters(tmp_path: Path) -> None:
    throttle = "sys/devices/system/cpu/cpu0/thermal_throttle"
    system = machines.write(
        tmp_path,
        {
            "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0",
            "sys/class/thermal/cooling_device0/cur_state": 0,
            "sys/class/thermal/cooling_device1/type": "pwm-fan",
            "sys/class/thermal/cooling_device1/cur_state": 3,
            f"{throttle}/core_throttle_count": 7,
            f"{throttle}/package_throttle_count": 0,
            "sys/class/hwmon/hwmon0/name": "acpitz",
            "sys/class/hwmon/hwmon0/temp1_input": 99000,
            "sys/class/hwmon/hwmon2/name": "coretemp",
            "sys/class/hwmon/hwmon2/temp1_input": 45000,
            "sys/class/hwmon/hwmon2/temp1_label": "Package id 0",
        },
    )
    found = find_sensors(system)
    assert [sensor.name for sensor in found.sensors] == ["coretemp Package id 0"]
    assert not frozenset().union(*(watch.read() for watch in found.watches))
    machines.write(
        tmp_path,
        {
            "sys/class/thermal/cooling_device0/cur_state": 2,
            f"{throttle}/package_throttle_count": 1,
        },
    )
    events = frozenset().union(*(watch.read() for watch in found.watches))
    assert len(events) == 2


def test_load_of_others_is_what_is_left_of_the_kernels_count(tmp_path: Path) -> None:
    system = machines.write(tmp_path, {"proc/stat": "cpu  1000 0 500 8000 100 0 50 20 0 0"})
    before = CpuTimes.now(system)
    machines.write(tmp_path, {"proc/stat": "cpu  1300 0 600 8500 100 0 50 120 0 0"})
    after = CpuTimes.now(system)
    assert before is not None
    assert after is not None
    own = CpuTimes(after.capacity, after.busy, after.stolen, before.own + 1.0)
    load = Load.between(before, own)
    assert load == Load(pytest.approx(0.1), pytest.approx(0.3), pytest.approx(0.1))
    assert CpuTimes.now(System(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("version", [1, 2])
def test_periods_in_which_a_quota_was_used_up_are_the_kernels_count(
    version: int, tmp_path: Path
) -> None:
    folder, groups = "sys/fs/cgroup/box/app", "0::/box/app"
    files = {"sys/fs/cgroup/cgroup.controllers": "cpu"}
    if version == 1:
        folder, groups, files = "sys/fs/cgroup/cpu/box/app", "4:cpu:/box/app", {}
    files |= {"proc/stat": "cpu  1000 0 500 8000 100 0 50 20 0 0", "proc/self/cgroup": groups}
    files |= {f"{folder}/../cpu.stat": "nr_periods 5\nnr_throttled 0\nthrottled_time 0"}
    own = f"{folder}/cpu.stat"
    system = machines.write(tmp_path, files | {own: "nr_periods 100\nnr_throttled 7"})
    before = CpuTimes.now(system)
    machines.write(
        tmp_path,
        {
            own: "nr_periods 140\nnr_throttled 17",
            "proc/stat": "cpu  1300 0 600 8500 100 0 50 120 0 0",
        },
    )
    load = Load.between(before, CpuTimes.now(system))
    assert load is not None
    assert load.throttled == 0.25


def test_fingerprints(tmp_path: Path) -> None:
    pi = Device.of(machines.raspberry_pi_4(tmp_path / "pi"))
    assert (pi.cpu, pi.cores, pi.int8, pi.machine) == ("Cortex-A72", 4, False, "aarch64")
    orin = Device.of(machines.jetson_orin_nano(tmp_path / "orin"))
    assert (orin.firmware, orin.power_mode, orin.int8) == ("L4T 36.4.3", "15W", True)
    here = Device.of()
    assert here.cores >= 1
    assert "onnxruntime" in here.packages
    assert here.line


_NVML = r"""
#include <string.h>
typedef void* dev; typedef unsigned long long ull;
typedef struct { ull total, free, used; } memory;
typedef struct { unsigned pid; ull used; unsigned gi, ci; } process;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev* d) {
  *d = (dev)&_gpu; return i ? 2 : 0; }
int nvmlDeviceGetName(dev d, char* s, unsigned n) { strncpy(s, "NVIDIA Test 1", n); return 0; }
int nvmlSystemGetDriverVersion(char* s, unsigned n) { strncpy(s, "550.54", n); return 0; }
int nvmlDeviceGetCudaComputeCapability(dev d, int* a, int* b) { *a = 8; *b = 6; return 0; }
int nvmlDeviceGetTemperature(dev d, unsigned k, unsigned* v) { *v = 61; return k; }
int nvmlDeviceGetClockInfo(dev d, unsigned k, unsigned* v) { *v = 1410; return k != 1; }
int nvmlDeviceGetMaxClockInfo(dev d, unsigned k, unsigned* v) { *v = 1980; return k != 1; }
int nvmlDeviceGetPowerUsage(dev d, unsigned* v) { *v = 123456; return d != (dev)&_gpu; }
int nvmlDeviceGetCurrentClocksThrottleReasons(dev d, ull* v) { *v = 0x24; return 0; }
int nvmlDeviceGetMemoryInfo(dev d, memory* m) { m->used = 3ull << 30; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(dev d, unsigned* n, process* p) {
  p[0].pid = 7; p[0].used = 5ull << 20; p[1].pid = 42; p[1].used = 214ull << 20;
  p[2].pid = 43; p[2].used = ~0ull; *n = 3; return 0; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_nvml_by_its_documented_prototypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(_NVML.replace("typedef void*", "static int _gpu; typedef void*", 1))
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    gpu = nvml.Gpu.first(str(library))
    assert gpu is not None
    assert (gpu.name, gpu.driver, gpu.capability) == ("NVIDIA Test 1", "550.54", "8.6")
    found = nvml.find(gpu)
    readings = {sensor.kind: sensor.read() for sensor in found.sensors}
    assert readings == {Kind.TEMPERATURE: 61, Kind.CLOCK: 1410, Kind.POWER: 123.456}
    assert [s.limit for s in found.sensors if s.kind is Kind.CLOCK] == [1980]
    # A power cap (0x04) is how the card is set up; the temperature limit (0x20) is not.
    assert found.watches[0].read() == {nvml._REASONS[0x20]}
    assert gpu.used_by_mib(42) == 214
    assert gpu.used_by_mib(43) is None
    assert gpu.used_by_mib(1) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert nvml.Gpu.first(str(library)) is None
    assert nvml.Gpu.first(str(tmp_path / "none.so")) is None


def test_a_zone_that_does_not_say_processor_is_better_than_none(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    files = {f"{zone}0/type": "acpitz", f"{zone}0/temp": 61000}
    system = machines.write(tmp_path, files)
    for named_cpu, expected in ((False, "acpitz"), (True, "x86_pkg_temp")):
        if named_cpu:
            machines.write(tmp_path, {f"{zone}1/type": "x86_pkg_temp", f"{zone}1/temp": 40000})
        sampler = Sampler(find_sensors(system))
        sampler.take(0.0)
        assert sampler.timeline().hottest_name() == expected
