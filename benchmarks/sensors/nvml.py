"""Desktop and server GPUs of NVIDIA, through the driver's own library (NVML) and ctypes.

Prototypes: https://docs.nvidia.com/deploy/nvml-api/. Loaded from the driver, so there is no package
to install. On a Jetson NVML knows little; what it does not know is left out.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgead.benchmarks.sensors.base import Found, Kind, Part, Sensor, SensorError, ThrottleWatch

_LIBRARY = "libnvidia-ml.so.1"
_SUCCESS = 0
_TEMPERATURE_GPU = 0
_CLOCK_SM = 1
_REASONS = {
    0x08: "the GPU slows down (hardware slowdown: heat or power)",
    0x20: "the GPU is at its temperature limit (software thermal slowdown)",
    0x40: "the GPU is at its temperature limit (hardware thermal slowdown)",
    0x80: "the GPU's power supply asks it to slow down (power brake)",
}


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


@dataclass(frozen=True)
class Gpu:
    """One GPU of an initialised library.

    Attributes:
        driver: The driver's version.
        capability: Compute capability, such as ``8.6``.
    """

    library: Any
    handle: ctypes.c_void_p
    name: str
    driver: str
    capability: str

    @classmethod
    def first(cls, library: str = _LIBRARY) -> Gpu | None:
        """Return the GPU that CUDA would take first, or ``None`` where there is none.

        ``CUDA_VISIBLE_DEVICES`` is followed where it is a number.
        """
        try:
            loaded = ctypes.CDLL(library)
        except OSError:
            return None
        if loaded.nvmlInit_v2() != _SUCCESS:
            return None
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
        handle = ctypes.c_void_p()
        index = ctypes.c_uint(int(visible) if visible.isdigit() else 0)
        if loaded.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != _SUCCESS:
            return None
        name, driver = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
        loaded.nvmlDeviceGetName(handle, name, ctypes.c_uint(96))
        loaded.nvmlSystemGetDriverVersion(driver, ctypes.c_uint(96))
        major, minor = ctypes.c_int(), ctypes.c_int()
        known = loaded.nvmlDeviceGetCudaComputeCapability(
            handle, ctypes.byref(major), ctypes.byref(minor)
        )
        capability = f"{major.value}.{minor.value}" if known == _SUCCESS else ""
        return cls(loaded, handle, name.value.decode(), driver.value.decode(), capability)

    def celsius(self) -> float:
        """Return the core's temperature."""
        return self._number("nvmlDeviceGetTemperature", ctypes.c_uint(_TEMPERATURE_GPU))

    def clock_mhz(self) -> float:
        """Return the clock of the multiprocessors."""
        return self._number("nvmlDeviceGetClockInfo", ctypes.c_uint(_CLOCK_SM))

    def highest_clock_mhz(self) -> float:
        """Return the highest clock of the multiprocessors."""
        return self._number("nvmlDeviceGetMaxClockInfo", ctypes.c_uint(_CLOCK_SM))

    def watts(self) -> float:
        """Return the power of the whole card."""
        return self._number("nvmlDeviceGetPowerUsage") / 1e3

    def throttle_reasons(self) -> int:
        """Return the bits that say what holds the clock down."""
        bits = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(bits))
        return bits.value

    def used_mib(self) -> float:
        """Return the memory in use on the card, by every program."""
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
        return float(memory.used) / 2**20

    def used_by_mib(self, pid: int) -> float | None:
        """Return the memory that one process uses; ``None`` if the driver does not see it.

        In a container the driver knows processes by other numbers.
        """
        count = ctypes.c_uint(64)
        processes = (_Process * 64)()
        try:
            self._call("nvmlDeviceGetComputeRunningProcesses_v3", ctypes.byref(count), processes)
        except SensorError:
            return None
        for process in processes[: count.value]:
            if process.pid == pid and process.used < 2**63:  # all ones: not available
                return float(process.used) / 2**20
        return None

    def _number(self, function: str, *arguments: Any) -> float:
        value = ctypes.c_uint()
        self._call(function, *arguments, ctypes.byref(value))
        return float(value.value)

    def _call(self, function: str, *arguments: Any) -> None:
        # Old drivers lack the newest names.
        called = getattr(self.library, function, None)
        status = called(self.handle, *arguments) if called else None
        if status != _SUCCESS:
            raise SensorError(f"NVML: {function} returns {status}")


class _Reasons(ThrottleWatch):
    name = "NVML throttle reasons"
    history: tuple[str, ...] = ()

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def read(self) -> frozenset[str]:
        try:
            bits = self._gpu.throttle_reasons()
        except SensorError:
            return frozenset()
        return frozenset(text for bit, text in _REASONS.items() if bits & bit)


def find(gpu: Gpu | None) -> Found:
    """Find what NVML can read of a GPU."""
    found = Found()
    if gpu is None:
        return found
    limit = _try(gpu.highest_clock_mhz)
    for kind, read in (
        (Kind.TEMPERATURE, gpu.celsius),
        (Kind.CLOCK, gpu.clock_mhz),
        (Kind.POWER, gpu.watts),
    ):
        if _try(read) is not None:
            highest = limit if kind is Kind.CLOCK else None
            found.sensors.append(Sensor(kind, Part.GPU, f"{gpu.name} (NVML)", read, highest))
    if _try(lambda: float(gpu.throttle_reasons())) is not None:
        found.watches.append(_Reasons(gpu))
    return found


def _try(read: Callable[[], float]) -> float | None:
    try:
        return read()
    except SensorError:
        return None
