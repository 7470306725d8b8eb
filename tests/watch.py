"""Watches a command from outside: what it asks of the network, and which files it makes.

It runs without a network, and every system call of its processes is read (Linux's ``unshare`` and
``strace``). Where the system does not allow that, the test is skipped; with
``EDGEAD_REQUIRE_WATCH=1``, as in CI, that is a failure.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_MAKING = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,symlinkat"
_MOVING = "rename,renameat,renameat2"
_CALL = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. \w+ resumed>(.*)$")
_UNFINISHED = re.compile(r"^((\d+)\s+.*) <unfinished \.\.\.>$")
_NAME = re.compile(r'(?:(AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Watched:
    """What a command did.

    Attributes:
        done: Its exit code and output.
        network: Each call that asks for a socket (of the network, not of this machine), and each
            look at the list of name servers.
        made: Each file and folder that was made or opened to be written, by its last name.
    """

    done: subprocess.CompletedProcess[str]
    network: list[str]
    made: list[Path]

    def outside(self, *named: Path) -> list[Path]:
        """Return what was made elsewhere than at or in the paths that were named."""
        return [path for path in self.made if not any(_is_in(path, name) for name in named)]


def watch(command: Sequence[str | Path], folder: Path, **environment: str) -> Watched:
    """Run a command in ``folder/work`` with homes of its own, and watch it.

    Args:
        command: Its words.
        folder: An empty one. ``home`` and ``tmp`` in it are the command's home and temporary
            folder.
        environment: What else to set.
    """
    prefix = _prefix()
    home, scratch, work = (folder / name for name in ("home", "tmp", "work"))
    for own in (home, scratch, work):
        own.mkdir(parents=True, exist_ok=True)
    log = folder / "calls"
    calls = f"trace=network,chdir,{_MAKING},{_MOVING}"
    tracer = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        calls,
        "-e",
        "signal=none",
    ]
    done = subprocess.run(
        [*prefix, *tracer, "-o", log, *map(str, command)],
        cwd=work,
        env={**_environment(home, scratch), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    network: list[str] = []
    made: set[Path] = set()
    for line in _whole_lines(log.read_text(errors="surrogateescape")):
        call = _CALL.match(line)
        if call is None:
            continue
        name, details, result = call.groups()
        is_socket = name == "socket" and not details.startswith("AF_UNIX")
        if is_socket or "/etc/resolv.conf" in details:
            network.append(line)
        elif int(result) >= 0 and _makes(name, details):
            *origin, target = _paths(details, work)
            if name.startswith("rename"):
                made.discard(origin[-1])
            made.add(target)
    return Watched(done, network, sorted(made))


def _environment(home: Path, scratch: Path) -> dict[str, str]:
    """Return this process's environment, with homes where nothing is and no sign of a CI job.

    Some libraries are silent in CI jobs, and where they were told to be.
    """
    quiet = ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "EDGEAD_CACHE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in quiet and not name.startswith(("XDG_", "PYTHONDONTWRITE", "PYTHONPYCACHE"))
    }
    # Python's own compiled modules are no concern of ours.
    return {**kept, "HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def _prefix() -> tuple[str, ...]:
    """Return the words that run a command without a network."""
    unshare = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--net", "--map-root-user")
    for missing in ("unshare", "strace"):
        if shutil.which(missing) is None:
            _cannot(f"{missing} is missing: apt-get install {missing}")
    tried = [*unshare, "strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    if done.returncode:
        _cannot(f"this system allows no empty network or no strace: {done.stderr.strip()}")
    return unshare


def _cannot(reason: str) -> None:
    if os.environ.get("EDGEAD_REQUIRE_WATCH"):
        pytest.fail(reason)
    pytest.skip(reason)


def _whole_lines(log: str) -> list[str]:
    """Join calls that strace wrote in two parts, because another process came between."""
    lines: list[str] = []
    begun: dict[str, str] = {}
    for line in log.splitlines():
        unfinished, resumed = _UNFINISHED.match(line), _RESUMED.match(line)
        if unfinished:
            begun[unfinished[2]] = unfinished[1]
        elif resumed:
            lines.append(begun.pop(resumed[1], "") + resumed[2])
        else:
            lines.append(line)
    return lines


def _makes(name: str, details: str) -> bool:
    if name.startswith("open"):
        return bool(re.search(r"\bO_(CREAT|WRONLY|RDWR|TMPFILE)\b", details))
    return name in (*_MAKING.split(","), *_MOVING.split(","))


def _paths(details: str, work: Path) -> list[Path]:
    """Return the paths in a call's arguments; the last one is what was made, or moved to."""
    found = []
    for match in _NAME.finditer(details):
        name = match[3].encode("latin-1", "backslashreplace").decode("unicode_escape")
        folder = Path(match[2]) if match[2] else work
        found.append(Path(os.path.normpath(folder / os.fsdecode(name.encode("latin-1")))))
    return found


def _is_in(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
