"""Recorded machines: the files and command outputs of real devices, in their documented formats.

Sources: kernel documentation (sysfs-class-thermal, hwmon/ina3221, cpufreq, powercap, proc(5)),
raspberrypi.com on ``vcgencmd``, NVIDIA's Jetson developer guides on ``tegrastats``, ``nvpmodel``
and the INA3221 rails. Values are typical ones; no machine of these was at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgead.benchmarks.system import System

_A72 = "fp asimd evtstrm crc32 cpuid"
_A76 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
_PMIC_LONG = """\
     3V3_SYS_A current(1)=0.06636165A
     VDD_CORE_A current(7)=2.40000000A
     HDMI_A current(22)=0.01514040A
     3V3_SYS_V volt(9)=3.31105600V
     VDD_CORE_V volt(15)=0.90000000V
     HDMI_V volt(23)=5.14950000V
     EXT5V_V volt(24)=5.14950000V
     BATT_V volt(25)=0.00000000V
"""
PMIC_SHORT = """\
VDD_CORE_V=0.9000V
VDD_CORE_A=2.4000A
3V3_SYS_V=3.3000V
3V3_SYS_A=0.1000A
EXT5V_V=5.1495V
"""
TEGRASTATS = (
    "06-14-2024 10:00:00 RAM 2448/7620MB (lfb 6x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [1%@729,2%@729,off,off,3%@1510,0%@1510] EMC_FREQ 2%@2133 GR3D_FREQ 0%@[305] "
    "cpu@48.468C soc2@47.062C cv0@-256C gpu@46.5C tj@48.468C "
    "VDD_IN 4572mW/4601mW VDD_CPU_GPU_CV 517mW/560mW VDD_SOC 1395mW/1400mW"
)
TEGRASTATS_NANO = (
    "RAM 1903/3964MB (lfb 4x4MB) IRAM 0/252kB(lfb 252kB) CPU [15%@1428,12%@1428,9%@1428,10%@1428] "
    "EMC_FREQ 4%@1600 GR3D_FREQ 0%@76 APE 25 PLL@31C CPU@34.5C PMIC@100C GPU@32C AO@39.5C "
    "thermal@33.25C POM_5V_IN 2042/2100 POM_5V_GPU 124/130 POM_5V_CPU 290/301"
)


def write(root: Path, files: Mapping[str, object]) -> System:
    """Write files under a root and return the machine that they are."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return System(root)


def command(root: Path, name: str, answers: Mapping[str, str]) -> None:
    """Install a command that prints a file for each first argument."""
    write(root, {f"answers/{name}{question}": text for question, text in answers.items()})
    path = root / "usr/bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec cat "{root}/answers/{name}$1"\n')
    path.chmod(0o755)


def cpuinfo(cores: int, features: str, part: str) -> str:
    one = "processor\t: {0}\nBogoMIPS\t: 108.00\nFeatures\t: {1}\nCPU implementer\t: 0x41\n"
    one += "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {2}\nCPU revision\t: 3\n"
    return "\n".join(one.format(core, features, part) for core in range(cores))


def cpufreq(cores: int, governor: str, khz: int) -> dict[str, object]:
    policy = f"sys/devices/system/cpu/cpufreq/policy{cores}"
    return {
        f"{policy}/scaling_governor": governor,
        f"{policy}/scaling_available_governors": "conservative ondemand powersave performance",
        f"{policy}/scaling_cur_freq": khz,
        f"{policy}/scaling_max_freq": khz,
    }


def _linux(name: str, kernel: str, memory_kb: int) -> dict[str, object]:
    return {
        "etc/os-release": f'PRETTY_NAME="{name}"\nID=debian',
        "proc/sys/kernel/osrelease": kernel,
        "proc/meminfo": f"MemTotal:        {memory_kb} kB\nMemFree:          123456 kB",
        "proc/stat": "cpu  1000 0 500 8000 100 0 50 0 0 0",
    }


def raspberry_pi_4(root: Path, throttled: str = "0x0") -> System:
    """A Pi 4 under Raspberry Pi OS: no current sensing."""
    command(
        root,
        "vcgencmd",
        {
            "get_throttled": f"throttled={throttled}",
            "measure_clock": "frequency(48)=1800457088",
            "measure_temp": "temp=48.3'C",
            "pmic_read_adc": 'error=1 error_msg="Command not registered"',
        },
    )
    return write(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/cpuinfo": cpuinfo(4, _A72, "0xd08"),
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 48312,
            **cpufreq(0, "ondemand", 1800000),
            **_linux("Debian GNU/Linux 12 (bookworm)", "6.6.31+rpt-rpi-v8", 3884360),
        },
    )


def raspberry_pi_5(root: Path) -> System:
    """A Pi 5: the power chip measures every rail."""
    command(
        root,
        "vcgencmd",
        {
            "get_throttled": "throttled=0x0",
            "measure_clock": "frequency(0)=2400019712",
            "measure_temp": "temp=52.1'C",
            "pmic_read_adc": _PMIC_LONG,
        },
    )
    return write(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/cpuinfo": cpuinfo(4, _A76, "0xd0b"),
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 52100,
            **cpufreq(0, "ondemand", 2400000),
            **_linux("Debian GNU/Linux 12 (bookworm)", "6.6.31+rpt-rpi-2712", 8245296),
        },
    )


def jetson_orin_nano(root: Path) -> System:
    """A Jetson Orin Nano under JetPack 6: three rails, one of the channels not connected."""
    command(root, "nvpmodel", {"-q": "NV Power Mode: 15W\n0"})
    hwmon = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    return write(
        root,
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081",
            "proc/cpuinfo": cpuinfo(6, _A76, "0xd42"),
            f"{hwmon}/name": "ina3221",
            f"{hwmon}/in1_label": "VDD_IN",
            f"{hwmon}/in1_enable": 1,
            f"{hwmon}/in1_input": 5000,
            f"{hwmon}/curr1_input": 1480,
            f"{hwmon}/curr1_max_alarm": 0,
            f"{hwmon}/curr1_crit_alarm": 0,
            f"{hwmon}/in2_label": "VDD_CPU_GPU_CV",
            f"{hwmon}/in2_enable": 1,
            f"{hwmon}/in2_input": 5000,
            f"{hwmon}/curr2_input": 416,
            f"{hwmon}/in3_label": "NC",
            f"{hwmon}/in7_label": "sum of shunt voltages",
            "sys/class/hwmon/hwmon5/name": "soctherm_oc",
            "sys/class/hwmon/hwmon5/oc3_event_cnt": 2,
            "sys/class/devfreq/17000000.gpu/cur_freq": 624750000,
            "sys/class/devfreq/17000000.gpu/max_freq": 624750000,
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 51000,
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
            "sys/class/thermal/thermal_zone1/temp": 50500,
            "sys/class/thermal/thermal_zone2/type": "cv0-thermal",
            "sys/class/thermal/thermal_zone2/temp": -256000,
            **cpufreq(0, "schedutil", 1510400),
            **_linux("Ubuntu 22.04.4 LTS", "5.15.148-tegra", 7802000),
        },
    )


def bare_pc(root: Path) -> System:
    """A virtual machine that shows nothing."""
    return write(
        root,
        {
            "proc/cpuinfo": "\n\n".join(
                f"processor\t: {core}\nmodel name\t: Intel(R) Xeon(R)\n"
                "flags\t\t: fpu sse2 avx2 hypervisor"
                for core in range(2)
            ),
            **_linux("Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64", 4012345),
        },
    )
