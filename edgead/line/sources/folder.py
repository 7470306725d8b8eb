"""A folder into which another program writes photos.

It is looked at five times a second, which works on network drives, too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgead import files, images, photo_files
from edgead.errors import ImageError
from edgead.line.errors import SourceError
from edgead.line.sources.base import EndOfFrames, Grabbed, Source

_LOOK_S = 0.2

_Seen = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


@dataclass(frozen=True)
class FolderOptions:
    """A folder of photos.

    Attributes:
        path: The folder; folders in it are not looked at.
        watch: Wait for new photos; otherwise the line ends after the last.
        settled_s: A file that did not change for so long is complete.
        done: What is done with a photo that was judged: ``keep``, ``move`` or ``delete``.
        move_to: The folder for ``move``.
        remember: A file with the names of photos that were judged, so that they are passed over
            after a restart; for ``keep``.
    """

    path: Path
    watch: bool = True
    settled_s: float = 0.5
    done: Literal["keep", "move", "delete"] = "keep"
    move_to: Path | None = None
    remember: Path | None = None

    def __post_init__(self) -> None:
        if (self.done == "move") != (self.move_to is not None):
            raise ValueError("done = 'move' and move_to = FOLDER belong together")
        if self.move_to is not None and self.move_to == self.path:
            raise ValueError("move_to must be another folder than path")
        if self.remember is not None and self.done != "keep":
            raise ValueError("remember is for done = 'keep': other photos are not there any more")
        if not 0 <= self.settled_s <= 3600:
            raise ValueError(f"settled_s must be from 0 to an hour, not {self.settled_s:g}")


class Folder(Source):
    """A folder of photos."""

    Options = FolderOptions
    is_live = False
    can_be_triggered = False

    def __init__(self, options: FolderOptions) -> None:
        super().__init__(options)
        self._ready: deque[Path] = deque()
        self._judged: dict[str, _Seen] = {}
        self._growing: dict[str, tuple[_Seen, float]] = {}
        self._reading: tuple[Path, _Seen] | None = None

    def open(self) -> None:
        """Check that the folder is there, and read which photos were judged before."""
        path = self.options.path
        if not path.is_dir():
            raise SourceError(f"{path} is no folder")
        if not os.access(path, os.R_OK | os.X_OK):
            raise SourceError(f"{path} may not be read by this user")
        for folder in (path if self.options.done != "keep" else None, self.options.move_to):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK):
                    raise SourceError(
                        f"{folder} may not be written by this user, as done = "
                        f"'{self.options.done}' needs"
                    )
                if folder.stat().st_dev != path.stat().st_dev:
                    raise SourceError(f"move_to {folder} must be on the same disk as {path}")
        if self.options.remember is not None:
            self._judged = _remembered(self.options.remember, path)

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next photo that is complete, by name."""
        until = time.monotonic() + timeout_s
        while not self._ready:
            self._look()
            if self._ready:
                break
            if not self.options.watch and not self._growing:
                raise EndOfFrames
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(_LOOK_S, left))
        path = self._ready.popleft()
        try:
            seen = _seen(path.stat())
        except OSError:  # it was taken away
            return None
        self._reading = path, seen
        try:
            picture = images.read_image(path)
        except ImageError as error:
            return Grabbed(None, time.monotonic(), path.name, str(error))
        return Grabbed(picture, time.monotonic(), path.name)

    def judged(self, frame: Grabbed) -> None:
        """Keep, move or delete the photo."""
        assert self._reading is not None
        path, seen = self._reading
        self._judged[path.name] = seen
        with contextlib.suppress(FileNotFoundError):
            if self.options.done == "delete":
                path.unlink()
            elif self.options.done == "move":
                path.replace(_free(self.options.move_to / path.name))
            elif self.options.remember is not None:
                with self.options.remember.open("a", encoding="utf-8") as stream:
                    stream.write(f"{seen[0]} {seen[1]} {_quoted(path.name)}\n")

    def close(self) -> None:
        """Forget what was seen of files that are being written."""
        self._ready.clear()
        self._growing.clear()

    def _look(self) -> None:
        """Find photos that are new or changed, and complete."""
        now, found, ready = time.monotonic(), {}, []
        try:
            with os.scandir(self.options.path) as entries:
                for entry in entries:
                    if _is_photo(entry):
                        found[entry.name] = _seen(entry.stat())
        except FileNotFoundError:  # an entry that was renamed meanwhile: the next look finds it
            if not self.options.path.is_dir():
                raise SourceError(f"{self.options.path} is not there any more") from None
            return
        for name in self._judged.keys() - found.keys():
            del self._judged[name]
        growing = {}
        for name, seen in found.items():
            if self._judged.get(name) == seen:
                continue
            before, since = self._growing.get(name, (None, now))
            if before != seen:
                since = now
            # Its age says nothing: the clock of a network drive may be another.
            if now - since >= self.options.settled_s:
                ready.append(name)
            else:
                growing[name] = seen, since
        self._growing = growing
        self._ready.extend(self.options.path / name for name in sorted(ready))


def _is_photo(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    return (
        Path(name).suffix.lower() in photo_files.SUFFIXES
        and not photo_files.is_hidden_or_system(name)
        and entry.is_file()
    )


def _seen(found: os.stat_result) -> _Seen:
    return found.st_size, found.st_mtime_ns


def _free(path: Path) -> Path:
    """Return a name that is not taken."""
    count, free = 0, path
    while free.exists():
        count += 1
        free = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return free


def _quoted(name: str) -> str:
    return name.encode("unicode_escape").decode("ascii")


def _unquoted(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")


def _remembered(path: Path, folder: Path) -> dict[str, _Seen]:
    """Read the names of judged photos, and write the file again without those that are gone."""
    found: dict[str, _Seen] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            size, changed, name = [*line.split(" ", 2), "", ""][:3]
            with contextlib.suppress(ValueError):  # the last line may be half of one
                found[_unquoted(name)] = int(size), int(changed)
    found = {name: seen for name, seen in found.items() if (folder / name).exists()}
    lines = [f"{size} {changed} {_quoted(name)}\n" for name, (size, changed) in found.items()]
    files.write_text(path, "".join(lines))
    return found
