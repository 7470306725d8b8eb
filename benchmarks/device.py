"""A fingerprint of the machine, for a report that someone else reads."""

from __future__ import annotations

import itertools
import os
import platform
import re
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from edgead import cpu
from edgead.benchmarks.sensors import cpufreq, jetson, nvml
from edgead.benchmarks.system import System
from edgead.runtimes import names
from edgead.runtimes.select import runtime_class

_PACKAGES = ("numpy", "opencv-python-headless", "opencv-python")

# What makes a network fast in INT8 or half precision, as the kernel spells it.
_FEATURES = {
    "asimddp": "INT8 dot product",
    "i8mm": "INT8 matrix multiply",
    "avx_vnni": "AVX-VNNI (INT8)",
    "avx512_vnni": "AVX-512 VNNI (INT8)",
    "amx_int8": "AMX INT8",
    "asimdhp": "FP16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_fp16": "AMX FP16",
    "bf16": "BF16",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
}
_INT8 = {name for name, text in _FEATURES.items() if "INT8" in text}

# Arm cores name themselves by number only (Main ID Register; Arm's reference manuals).
_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
    0xD83: "Neoverse-V3AE",
}


@dataclass(frozen=True)
class Device:
    """Facts about the machine; ``None`` or empty where they are unknown.

    Attributes:
        features: What of the CPU speeds up INT8 or half precision.
        int8: Whether one of them is for INT8.
        governor: CPU frequency governor; several joined by ``+``.
        power_mode: A Jetson's ``nvpmodel``.
        virtual: Whether this is a virtual machine.
        allowed: ``"1 of 2"`` where this process may not use every CPU.
    """

    board: str | None
    cpu: str
    machine: str
    cores: int
    features: tuple[str, ...]
    int8: bool
    gpu: str | None
    memory_mib: int | None
    os: str
    firmware: str | None
    kernel: str
    governor: str | None
    power_mode: str | None
    virtual: bool
    allowed: str | None = None
    packages: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, system: System | None = None) -> Device:
        """Read the fingerprint of a machine, this one by default."""
        system = system or System()
        info = system.text("proc/cpuinfo") or ""
        flags = _flags(info)
        here = system.is_this_machine
        return cls(
            board=_board(system),
            cpu=_cpu_name(info) or (cpu.model_name() if here else "unknown"),
            machine=platform.machine() if here else _machine(info),
            cores=cpu.physical_cores() if here else len(re.findall(r"^processor\s*:", info, re.M)),
            features=tuple(text for name, text in _FEATURES.items() if name in flags),
            int8=bool(_INT8 & flags),
            gpu=_gpu(system),
            memory_mib=_memory_mib(system),
            os=_os(system),
            firmware=_firmware(system),
            kernel=system.text("proc/sys/kernel/osrelease") or platform.release(),
            governor="+".join(cpufreq.governors(system)) or None,
            power_mode=_power_mode(system),
            virtual="hypervisor" in flags,
            allowed=_allowed() if here else None,
            packages=_packages() if here else {},
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "features": list(self.features), "system": self.os}

    @property
    def line(self) -> str:
        """The fingerprint in one line."""
        parts = [
            self.board,
            f"{self.cpu}, {self.cores} core{'' if self.cores == 1 else 's'}"
            + (f" (this process may use {self.allowed} CPUs)" if self.allowed else ""),
            ", ".join(self.features) or f"no INT8 or FP16 instructions known ({self.machine})",
            self.gpu,
            f"{self.memory_mib / 1024:.1f} GiB" if self.memory_mib else None,
            self.firmware,
            self.os,
            f"Linux {self.kernel}" if not self.kernel.startswith("Linux") else self.kernel,
            f"power mode {self.power_mode}" if self.power_mode else None,
            f"governor {self.governor}" if self.governor else None,
            "virtual machine" if self.virtual else None,
        ]
        return " · ".join(part for part in parts if part)


def _allowed() -> str | None:
    """Say how many CPUs an affinity (taskset, a container's cpuset) leaves to this process."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed, there = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    return f"{allowed} of {there}" if allowed < there else None


def _machine(info: str) -> str:
    return "aarch64" if "CPU implementer" in info else "x86_64"


def _flags(info: str) -> set[str]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", info, re.M)
    return set(match[1].split()) if match else set()


def _cpu_name(info: str) -> str | None:
    named = re.search(r"^model name\s*:\s*(.+)$", info, re.M)
    if named:
        return named[1].strip()
    parts = dict.fromkeys(
        int(part, 16) for part in re.findall(r"^CPU part\s*:\s*(\w+)", info, re.M)
    )
    known = [_ARM_PARTS.get(part, f"Arm part 0x{part:x}") for part in parts]
    return " + ".join(known) or None


def _board(system: System) -> str | None:
    tree = system.text("proc/device-tree/model")
    if tree:
        return tree
    vendor, product = (
        system.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")
    )
    if not product:
        return None
    return product if not vendor or product.startswith(vendor) else f"{vendor} {product}"


def _gpu(system: System) -> str | None:
    if jetson.is_jetson(system):
        return "integrated GPU"
    gpu = nvml.Gpu.first() if system.is_this_machine else None
    return f"{gpu.name} (compute {gpu.capability}, driver {gpu.driver})" if gpu else None


def _memory_mib(system: System) -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", system.text("proc/meminfo") or "", re.M)
    return int(match[1]) // 1024 if match else None


def _os(system: System) -> str:
    text = system.text("etc/os-release") or ""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?', text, re.M)
    return match[1] if match else platform.system()


def _firmware(system: System) -> str | None:
    release = system.text("etc/nv_tegra_release") or ""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return f"L4T {match[1]}.{match[2]}" if match else None


def _power_mode(system: System) -> str | None:
    if not jetson.is_jetson(system):
        return None
    answer = system.run("nvpmodel", ["-q"])
    match = re.search(r"NV Power Mode:\s*(\S+)", answer.text) if answer else None
    return match[1] if match else None


def _packages() -> dict[str, str]:
    of_runtimes = (runtime_class(name).packages for name in sorted(names()))
    found = {"python": platform.python_version()}
    for name in (*_PACKAGES, *itertools.chain(*of_runtimes)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
