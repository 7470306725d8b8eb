"""What the CPU is and how many of its cores this process may use."""

from __future__ import annotations

import functools
import math
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


def default_threads(root: Path = Path("/")) -> int:
    """Return how many threads one inference gets unless asked otherwise.

    One for each physical core, and no more than the whole CPUs of a container's quota. Rounded
    down: with a quota of 1.5 CPUs, two busy threads use up each period of 100 ms in 75 ms, and then
    the kernel stops both until the next one.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    quota = cpu_quota(root)
    cores = physical_cores()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many CPUs' time the control groups of this process allow; ``None`` if all.

    That is what ``docker run --cpus`` and a Kubernetes limit set. A group is limited by those that
    it is in as well.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    quotas = [quota for folder in cgroup_folders(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def cgroup_folders(root: Path = Path("/")) -> list[Path]:
    """Return the folders of the control groups that limit this process's CPU time, its own first.

    In a container that has no view of its own of the groups, the kernel names a folder that is not
    there, and the container's own group is what is mounted.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    mounts = root / "sys/fs/cgroup"
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if "cpu" in controllers.split(","):  # version 1
            mount = next((m for m in (mounts / controllers, mounts / "cpu") if m.is_dir()), None)
        elif not controllers:  # version 2
            mount = mounts if (mounts / "cgroup.controllers").exists() else mounts / "unified"
        else:
            continue
        if mount is not None:
            own = Path(group.lstrip("/"))
            folders += [mount / parent for parent in (own, *own.parents)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _quota(folder: Path) -> float | None:
    """Return one group's own quota in CPUs."""
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no limit is the word max or a negative number
        return None


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
