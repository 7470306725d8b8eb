from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from edgead.benchmarks.governor import governor
from edgead.benchmarks.system import System
from edgead.errors import EdgeadError, UsageError
from tests.benchmarks import machines


def two_policies(root: Path) -> System:
    machines.write(root, machines.cpufreq(0, "ondemand", 1800000))
    return machines.write(root, machines.cpufreq(4, "schedutil", 2400000))


def now(root: Path) -> list[str]:
    paths = sorted(root.glob("sys/devices/system/cpu/cpufreq/*/scaling_governor"))
    return [path.read_text().strip() for path in paths]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_every_policy_is_put_back(tmp_path: Path, error: type[BaseException] | None) -> None:
    system = two_policies(tmp_path)
    seen = []
    expected = pytest.raises(error) if error else contextlib.nullcontext()
    with expected, governor("performance", system):
        seen = now(tmp_path)
        if error:
            raise error
    assert seen == ["performance", "performance"]
    assert now(tmp_path) == ["ondemand", "schedutil"]


def test_a_kill_puts_it_back_too(tmp_path: Path) -> None:
    system = two_policies(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), governor("performance", system):
        os.kill(os.getpid(), signal.SIGTERM)
    assert now(tmp_path) == ["ondemand", "schedutil"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_nothing_stays_changed_when_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = two_policies(tmp_path)
    write = Path.write_text

    def refuse(path: Path, text: str) -> int:
        if "policy4" in str(path) and text == "performance":
            raise PermissionError(13, "Permission denied")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(EdgeadError, match="sudo"), governor("performance", system):
        pytest.fail("the block must not run")
    assert now(tmp_path) == ["ondemand", "schedutil"]


def test_what_cannot_be_set_is_refused(tmp_path: Path) -> None:
    none = pytest.raises(UsageError, match="no CPU frequency policies")
    with none, governor("performance", System(tmp_path)):
        pass
    system = two_policies(tmp_path)
    with pytest.raises(UsageError, match="conservative, ondemand"), governor("fast", system):
        pass
    with governor(None, System(tmp_path / "nowhere")):
        pass
    assert now(tmp_path) == ["ondemand", "schedutil"]
