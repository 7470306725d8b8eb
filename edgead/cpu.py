"""What the CPU is and how many of its cores this process may use."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")

X86 = ("x86_64", "amd64")
"""How ``platform.machine()`` spells x86-64, in lower case."""


def physical_cores() -> int:
    """Count the physical cores that this process may run on (hyper-threads count once)."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed is None:
        return os.cpu_count() or 1
    cores = set()
    for index in allowed:
        siblings = _TOPOLOGY / f"cpu{index}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text().strip())
        except OSError:  # containers and emulators often show no topology
            cores.add(str(index))
    return len(cores)


@functools.cache
def model_name() -> str:
    """Return the CPU's name as the kernel gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    for key in ("model name", "Model", "Hardware"):
        for line in text.splitlines():
            if line.partition(":")[0].strip() == key:
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def features() -> frozenset[str]:
    """Return the instruction-set features that the kernel lists (``flags`` or ``Features``)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (x86 AVX-512 BF16 or AMX, Arm BF16)."""
    return bool(features() & {"avx512_bf16", "amx_bf16", "bf16"})


LARGEST_EXACT_WEIGHT = 64
"""The largest magnitude of INT8 weights whose products every CPU adds exactly: 2 x 255 x 64 fits in
16 bits."""


def adds_int8_exactly() -> bool:
    """Whether the CPU's fast INT8 products are added without overflow, however large the weights.

    Without VNNI or AMX, x86 kernels for UINT8 x INT8 add two products in 16 bits (``vpmaddubsw``),
    where 255 x 127 twice does not fit: the sum is cut off at 32,767, in silence.
    """
    if platform.machine().lower() not in X86:
        return True
    return bool(features() & {"avx512_vnni", "avx_vnni", "amx_int8"})
