"""The files and commands of a machine, and of a recorded one under another root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_COMMAND_FOLDERS = ("usr/bin", "bin", "usr/sbin", "sbin", "usr/local/bin", "opt/vc/bin")
_COMMAND_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """The output of a command, and whether it succeeded."""

    text: str
    worked: bool


@dataclass(frozen=True)
class System:
    """Read-only access to the facts that a machine reports.

    Attributes:
        root: ``/`` for this machine; a folder laid out like one for a recorded machine.
    """

    root: Path = Path("/")

    @property
    def is_this_machine(self) -> bool:
        """Whether shared libraries may be asked, too."""
        return self.root == Path("/")

    def path(self, name: str) -> Path:
        """Return where ``name`` (without a leading slash) is."""
        return self.root / name

    def text(self, name: str) -> str | None:
        """Return a file's text without surrounding white space and zeros, or ``None``."""
        return read_text(self.path(name))

    def glob(self, pattern: str) -> list[Path]:
        """Return the paths that match, sorted; none where a folder cannot be listed."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []

    def which(self, command: str) -> Path | None:
        """Return where a command is installed."""
        for folder in _COMMAND_FOLDERS:
            path = self.root / folder / command
            if os.access(path, os.X_OK):
                return path
        return None

    def run(self, command: str, arguments: Sequence[str] = ()) -> Answer | None:
        """Run a command that only reads; ``None`` where it is not installed or does not answer."""
        path = self.which(command)
        if path is None:
            return None
        try:
            done = subprocess.run(
                [str(path), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        said = done.stdout.strip() or done.stderr.strip()
        return Answer(said, done.returncode == 0)


def read_text(path: Path) -> str | None:
    """Return a small file's text without surrounding white space and zeros, or ``None``."""
    try:
        return path.read_text(errors="replace").strip().strip("\0").strip()
    except OSError:
        return None
