"""Runs cases in worker processes, each case under limits, and keeps what fails.

A case fails when it takes more than :data:`MOST_SECONDS` of a processor, when it does nothing for
as long, when its process holds more memory than the target allows, when the process dies, and when
it ends with an exception that is not an :class:`~edgead.errors.EdgeadError`. Seconds of a
processor, because the machine may be busy with something else.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType

import numpy as np

from edgead.errors import EdgeadError

TARGETS = ("artifacts", "images", "json_files", "runs")
MOST_SECONDS = 10.0
LONGER = {"runs": 3.0}
"""Times the seconds of a processor: an export of an undamaged run takes four to ten."""

LONGEST_MESSAGE = 2000
MOST_FAILURES = 100
_KILL_AT_MIB = 3000
_CONTEXT = multiprocessing.get_context("spawn")


class WrongError(AssertionError):
    """A case was accepted that had to be refused, or gave another result than it must."""


@dataclass(frozen=True)
class Outcome:
    """How one case ended."""

    case: int
    accepted: bool
    seconds: float
    mib: float
    failure: str = ""


@dataclass
class Summary:
    """All cases of a campaign."""

    target: str
    seed: int
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failure]

    def __str__(self) -> str:
        whole = [outcome for outcome in self.outcomes if not outcome.failure]
        accepted = sum(outcome.accepted for outcome in whole)
        slowest = max(self.outcomes, key=lambda outcome: outcome.seconds)
        largest = max(self.outcomes, key=lambda outcome: outcome.mib)
        return (
            f"{self.target}, seed {self.seed}: {len(self.outcomes):,} cases, "
            f"{len(whole) - accepted:,} refused, {accepted:,} accepted; slowest "
            f"{slowest.seconds:.2f} s (case {slowest.case}), most memory {largest.mib:.0f} MiB "
            f"(case {largest.case}); {len(self.failures)} failures"
        )


def generator(target: str, seed: int, case: int) -> np.random.Generator:
    """Return what decides a case."""
    return np.random.default_rng([seed, zlib.crc32(target.encode()), case])


def run(
    target: str, cases: Iterable[int], seed: int = 0, workers: int = 1, out: Path | None = None
) -> Summary:
    """Run cases of a target.

    Args:
        target: One of :data:`TARGETS`.
        cases: Their numbers.
        seed: Of the campaign.
        workers: Processes at a time.
        out: Gets a folder for each failure, with the files of the case and what happened.
    """
    summary = Summary(target, seed)
    with tempfile.TemporaryDirectory(prefix="edgead-fuzz-") as name:
        root = Path(name)
        with contextlib.ExitStack() as stack:
            # The first makes the corpus; the others begin once it is there.
            everyone = [
                stack.enter_context(_Worker(target, seed, root, index)) for index in range(workers)
            ]
            for outcome, worker in _dealt(iter(cases), everyone):
                summary.outcomes.append(outcome)
                if outcome.failure:
                    print(f"{target} case {outcome.case}: {outcome.failure}", flush=True)
                    if out is not None:
                        _keep(worker.scratch, out / f"{target}-{seed}-{outcome.case}", outcome)
                if len(summary.failures) >= MOST_FAILURES:
                    print(f"stopped after {MOST_FAILURES} failures", flush=True)
                    break
    return summary


def _dealt(cases: Iterator[int], workers: list[_Worker]) -> Iterator[tuple[Outcome, _Worker]]:
    """Give each worker a case as soon as it has ended one."""
    busy = []
    for worker in workers:
        case = next(cases, None)
        if case is not None:
            worker.begin(case)
            busy.append(worker)
    while busy:
        wait([worker.connection for worker in busy], timeout=0.1)
        for worker in list(busy):
            outcome = worker.outcome()
            if outcome is None:
                continue
            yield outcome, worker
            case = next(cases, None)
            if case is None:
                busy.remove(worker)
            else:
                worker.begin(case)


class _Worker:
    """A process that runs cases, started again after one that it did not survive."""

    def __init__(self, target: str, seed: int, root: Path, index: int) -> None:
        self.scratch = root / f"scratch{index}"
        self._arguments = (target, seed, root / "corpus", self.scratch)
        self._case, self._began, self._moved = 0, 0.0, 0.0
        self._used = self._seen = 0.0

    def __enter__(self) -> _Worker:
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(*self._arguments, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        failure = self.connection.recv()
        if failure:
            raise RuntimeError(failure)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self.connection.close()

    def begin(self, case: int) -> None:
        if not self._process.is_alive():
            self.__exit__()
            self.__enter__()
        self._case, self._began = case, time.monotonic()
        self._used = self._seen = processor_seconds(self._process.pid)
        self._moved = self._began
        with contextlib.suppress(OSError):  # a dead process is seen in outcome()
            self.connection.send(case)

    def outcome(self) -> Outcome | None:
        """Return how the case ended; ``None`` while it runs."""
        seconds = time.monotonic() - self._began
        try:
            if self.connection.poll():
                found = self.connection.recv()
                assert isinstance(found, Outcome)
                return found
        except EOFError:
            self._process.join()
            return self._ended(f"the process died (exit code {self._process.exitcode})", seconds)
        used, now = processor_seconds(self._process.pid), time.monotonic()
        if used > self._seen:
            self._seen, self._moved = used, now
        if used - self._used > MOST_SECONDS * LONGER.get(self._arguments[0], 1.0):
            return self._ended(f"killed after {used - self._used:.0f} s of a processor", seconds)
        if now - self._moved > MOST_SECONDS:
            return self._ended(f"killed after {now - self._moved:.0f} s of doing nothing", seconds)
        mib = _memory("VmRSS", self._process.pid)
        if mib > _KILL_AT_MIB:
            return self._ended(f"killed at {mib:.0f} MiB", seconds, mib)
        return None

    def _ended(self, failure: str, seconds: float, mib: float = 0.0) -> Outcome:
        self._process.kill()
        self._process.join()
        return Outcome(self._case, False, seconds, mib, failure)


def _serve(target: str, seed: int, corpus: Path, scratch: Path, connection: Connection) -> None:
    """Make the corpus if it is not there, load it, and run the cases that are asked for."""
    try:
        module = importlib.import_module(f"tests.fuzz.{target}")
        if not corpus.exists():
            corpus.mkdir()
            module.build(corpus)
        _empty(scratch)
        loaded = module.load(corpus, scratch)
    except Exception:
        connection.send(traceback.format_exc())
        return
    connection.send("")
    with contextlib.suppress(EOFError):
        while True:
            case = connection.recv()
            _empty(scratch)
            connection.send(_run(module, loaded, target, seed, case))


def _run(module: ModuleType, corpus: object, target: str, seed: int, case: int) -> Outcome:
    failure, accepted = "", False
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    began, used = time.monotonic(), time.process_time()
    try:
        module.case(generator(target, seed, case), corpus)
        accepted = True
    except EdgeadError as error:
        if len(str(error)) > LONGEST_MESSAGE:
            failure = f"a refusal of {len(str(error)):,} characters: {str(error)[:200]}"
    except BaseException:
        failure = traceback.format_exc()
    seconds = time.monotonic() - began
    mib = _memory("VmHWM", os.getpid())
    used = time.process_time() - used
    if used > MOST_SECONDS * LONGER.get(target, 1.0):
        failure = failure or f"took {used:.1f} s of a processor"
    if mib > module.MOST_MIB:
        failure = failure or f"held {mib:.0f} MiB, more than {module.MOST_MIB}"
    return Outcome(case, accepted, seconds, mib, failure)


def processor_seconds(pid: int | None) -> float:
    """Return what a process and those that it started have used."""
    total = 0.0
    with contextlib.suppress(OSError, ValueError):
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")  # a name may have spaces
        total += sum(map(int, rest.split()[11:15])) / os.sysconf("SC_CLK_TCK")
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                total += processor_seconds(int(child))
    return total


def _memory(key: str, pid: int | None) -> float:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _keep(scratch: Path, folder: Path, outcome: Outcome) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(scratch, folder, symlinks=True)
    (folder / "failure.txt").write_text(outcome.failure)
