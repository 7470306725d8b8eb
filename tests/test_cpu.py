"""CPU quotas of containers, from files as kernels and container engines lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgead import cpu
from edgead.errors import UsageError
from edgead.runtimes import RuntimeOptions
from edgead.runtimes.base import most_threads


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "0::/kubepods/pod1/app\n"
V1 = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"
GROUPS = "sys/fs/cgroup/"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cgroup.controllers": "cpu", "cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cgroup.controllers": "cpu", "cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cgroup.controllers": "cpu"}, None),  # the root of all groups has no limit
        (
            V2,
            {
                "cgroup.controllers": "cpu",
                "kubepods/cpu.max": "max 100000",
                "kubepods/pod1/cpu.max": "200000 100000",
                "kubepods/pod1/app/cpu.max": "max 100000",
            },
            2.0,
        ),
        (
            V2,
            {
                "cgroup.controllers": "cpu",
                "kubepods/pod1/cpu.max": "400000 100000",
                "kubepods/pod1/app/cpu.max": "25000 50000",
            },
            0.5,
        ),
        # A container without a view of its own: the named folder is the host's.
        (V2, {"cgroup.controllers": "cpu", "cpu.max": "300000 100000"}, 3.0),
        (
            V1,
            {
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            "4:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "?", "cpu/cpu.cfs_period_us": ""}, None),
        ("nonsense", {}, None),
    ],
)
def test_the_quota_is_that_of_the_tightest_group(
    groups: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    root = machine(tmp_path, groups, {GROUPS + name: text for name, text in files.items()})
    assert cpu.cpu_quota(root) == quota


@pytest.mark.parametrize(
    ("limit", "threads"),
    [("max", 8), ("50000", 1), ("199999", 1), ("200000", 2), ("650000", 6), ("900000", 8)],
)
def test_threads_keep_to_the_whole_cpus_of_a_quota(
    limit: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"cgroup.controllers": "cpu", "cpu.max": f"{limit} 100000"}
    root = machine(tmp_path, "0::/\n", {GROUPS + name: text for name, text in files.items()})
    monkeypatch.setattr(cpu, "physical_cores", lambda: 8)
    assert cpu.default_threads(root) == threads


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu.cpu_quota(tmp_path) is None
    assert cpu.default_threads(tmp_path) == cpu.physical_cores()


@pytest.mark.parametrize("threads", [0, -1, most_threads() + 1, 10**5, 99999999999])
def test_numbers_of_threads_that_cannot_be_are_one_sentence(threads: int) -> None:
    with pytest.raises(UsageError, match=rf"at least 1 and at most \d+ .*not {threads}"):
        RuntimeOptions(threads=threads)
    assert RuntimeOptions(threads=most_threads()).threads == most_threads()
