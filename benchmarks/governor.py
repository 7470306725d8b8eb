"""The CPU's frequency governor: changed only when asked to, and always put back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from edgead import notices
from edgead.benchmarks.sensors.cpufreq import policies
from edgead.benchmarks.system import System, read_text
from edgead.errors import EdgeadError, UsageError

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def governor(name: str | None, system: System | None = None) -> Iterator[None]:
    """Set every policy's governor for the time of a block; ``None`` changes nothing.

    Put back also on errors, Ctrl-C, SIGTERM and SIGHUP.

    Raises:
        UsageError: The kernel does not offer the governor, or lets nobody choose one.
        EdgeadError: This user may not change it; nothing is left changed.
    """
    if name is None:
        yield
        return
    chosen = policies(system or System())
    if not chosen:
        raise UsageError(
            "--set-governor: the kernel has no CPU frequency policies here (a virtual machine, or "
            "a fixed clock); leave the option out"
        )
    for policy in chosen:
        offered = (read_text(policy / "scaling_available_governors") or "").split()
        if name not in offered:
            raise UsageError(
                f"--set-governor: {policy.name} has no governor '{name}'; it offers: "
                f"{', '.join(offered) or 'none'}"
            )
    before = {policy: read_text(policy / "scaling_governor") or "" for policy in chosen}
    with _signals_as_exceptions():
        changed: list[Path] = []
        try:
            for policy in chosen:
                # Before the write, so that an interrupt between the two still puts it back.
                changed.append(policy)
                _write(policy, name)
            yield
        finally:
            _put_back({policy: before[policy] for policy in changed})


def _write(policy: Path, name: str) -> None:
    path = policy / "scaling_governor"
    try:
        path.write_text(name)
    except OSError as error:
        raise EdgeadError(
            f"--set-governor: cannot write {path} ({error.strerror}): run the same command with "
            "sudo, or set the governor before"
        ) from error


def _put_back(before: dict[Path, str]) -> None:
    for policy, name in before.items():
        if read_text(policy / "scaling_governor") == name:
            continue
        try:
            (policy / "scaling_governor").write_text(name)
        except OSError as error:
            notices.warn(
                f"the governor of {policy.name} could not be restored ({error.strerror}); restore "
                f"it with: echo {name} | sudo tee {policy / 'scaling_governor'}"
            )


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = {number: signal.signal(number, end) for number in _ENDING}
    except ValueError:  # not the main thread: signals go elsewhere
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
