"""``python -m tests.kill``: kill a command many times and look at what is left."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.kill import jobs, warm

_MOST_IN_A_ROW = 4
_COLD_EVERY = 10


@dataclass
class Tally:
    """What happened; each failure says at which kill."""

    kills: int = 0
    terms: int = 0
    in_time: int = 0
    runs: int = 0
    cold: int = 0
    failures: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("command", choices=jobs.JOBS)
    parser.add_argument("--times", type=int, default=10, metavar="N", help="kills")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.monotonic()
    jobs.single_threaded()
    warm.import_everything()
    with tempfile.TemporaryDirectory(prefix="edgead-kill-") as folder:
        job = jobs.JOBS[args.command](Path(folder))
        job.prepare()
        tally = _campaign(job, args.times, np.random.default_rng([args.seed, len(args.command)]))
    print(
        f"{args.command}, seed {args.seed}: {tally.kills} kills ({tally.terms} SIGTERM, "
        f"{tally.cold} of a new interpreter), {tally.in_time} of a running command, {tally.runs} "
        f"series taken to the end; {len(tally.failures)} failures "
        f"({time.monotonic() - began:.0f} s)"
    )
    return 1 if tally.failures else 0


def _campaign(job: jobs.Job, times: int, rng: np.random.Generator) -> Tally:
    tally = Tally()
    lasts = {cold: _duration(job, cold) for cold in (False, True)}
    print(f"left alone it takes {lasts[False]:.2f} s, {lasts[True]:.2f} s from cold", flush=True)
    while tally.kills < times:
        job.renew()
        try:
            _series(job, tally, times, rng, lasts)
        except AssertionError:
            tally.failures.append(traceback.format_exc())
            print(f"after kill {tally.kills}: {tally.failures[-1]}", flush=True)
    return tally


def _series(
    job: jobs.Job, tally: Tally, times: int, rng: np.random.Generator, lasts: dict[bool, float]
) -> None:
    """Kill a command, the next start too now and then, and leave the last one alone."""
    for start in range(min(int(rng.geometric(0.6)), _MOST_IN_A_ROW, times - tally.kills)):
        if job.is_done():
            break
        tally.kills += 1
        is_cold = tally.kills % _COLD_EVERY == 0
        number = signal.SIGTERM if rng.random() < 1 / 3 else signal.SIGKILL
        # With a minute between checkpoints, as users have it, only the signal can have made one.
        seconds = None if number == signal.SIGTERM else job.checkpoint_seconds
        command = warm.Command(job.words(), job.folder / "killed.log", seconds, is_cold)
        code = command.wait(rng.uniform(0, 1.05 * lasts[is_cold]))
        tally.cold += is_cold
        tally.terms += number == signal.SIGTERM
        if code is None:
            tally.in_time += 1
            command.kill(number)
            code = command.wait(30)
        if code is None:
            command.kill(signal.SIGKILL)
            command.wait()
            raise AssertionError(f"still there 30 s after {number.name}: {command.log[-2000:]}")
        if "Traceback" in command.log:
            raise AssertionError(f"a traceback after {number.name}: {command.log[-3000:]}")
        if code not in (0, -number, 128 + number):
            raise AssertionError(f"exit code {code} after {number.name}: {command.log[-2000:]}")
        try:
            job.check()
        except AssertionError as error:
            said = command.log[-1500:]
            raise AssertionError(f"after {number.name} (exit code {code}) of: {said}") from error
        if code == 128 + number and start == 0:
            job.check_stopped()
    if not job.is_done():
        job.run("last.log")
        if job.leftovers():
            raise AssertionError(f"left behind after the next start: {job.leftovers()}")
    job.check_end()
    tally.runs += 1


def _duration(job: jobs.Job, cold: bool) -> float:
    job.renew()
    began = time.monotonic()
    command = warm.Command(
        job.words(), job.folder / "timed.log", None if cold else job.checkpoint_seconds, cold
    )
    if command.wait() != 0:
        raise RuntimeError(f"the command fails by itself: {command.log[-3000:]}")
    return time.monotonic() - began


if __name__ == "__main__":
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if not one.items() <= os.environ.items():
        # Read when NumPy is imported, which has happened: a process that forks has one thread.
        words = [sys.executable, "-m", "tests.kill", *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, **one})
    sys.exit(main())
