"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgead.errors import EdgeadError

_NEW, _SCRATCH = ".new-", ".scratch-"
_REST = re.compile(rf"({re.escape(_NEW)}|{re.escape(_SCRATCH)})[a-z0-9_]{{8}}(\..*)?")
_swept: set[Path] = set()  # by this process: once is enough for a folder of many photos

_BYTES_OF_UNKNOWN_SIZE = 1 << 20  # some file systems say 0

_STREAMS = ("/dev/stdout", "/dev/stderr")
_OPEN_FILES = ("/dev/fd", "/proc/self/fd")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it into place when the block succeeds.

    What was at ``path`` stays untouched if the block raises or the disk fills up.

    A link stays one: what it points to is written. A device or a pipe (``/dev/stdout``) is given
    the content and not replaced.

    Args:
        path: The final file name. Its folder is created when missing.

    Yields:
        A path in the same folder, with the same suffix, to write to.

    Raises:
        EdgeadError: The folder is not writable or the disk is full; the message names the file.
    """
    final = Path(os.path.realpath(path))
    if _is_device(Path(path)):
        with tempfile.TemporaryDirectory() as scratch:
            passed_on = Path(scratch) / f"content{final.suffix}"
            yield passed_on
            try:
                with Path(path).open("ab") as stream:
                    stream.write(passed_on.read_bytes())
            except OSError as error:
                raise _write_error(final, error) from error
        return
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(final.parent)
        handle, temporary = _make_file(final.parent, final.suffix)
    except OSError as error:
        raise _write_error(final, error) from error
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(final)
    except OSError as error:
        raise _write_error(final, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder inside of ``parent`` and remove it with all that is in it.

    What a killed process left in ``parent`` is removed by the next that works there.

    Args:
        parent: A folder; made when missing.

    Yields:
        The folder.

    Raises:
        EdgeadError: ``parent`` cannot be made or written to.
    """
    folder = Path(parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep_once(folder)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
        handle = os.open(scratch, os.O_RDONLY)
    except OSError as error:
        raise _write_error(folder, error) from error
    try:
        _try_lock(handle)
        yield scratch
    finally:
        os.close(handle)
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def locked_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder for this process: a second one that wants it is refused.

    The lock ends with the process, however that ends, and leaves no file. What a killed process
    left in the folder is removed.

    Args:
        path: The folder; made when missing.

    Raises:
        EdgeadError: Another process has locked it, or it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _write_error(folder, error) from error
    try:
        if not _try_lock(handle):
            raise EdgeadError(
                f"{folder} is in use: another edgead process writes into it; wait until it has "
                "finished, or choose another folder with --out"
            )
        sweep(folder)
        yield
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder: unfinished files, scratch folders.

    Those of processes that live are locked, and stay.
    """
    with contextlib.suppress(OSError):  # nothing here is worth failing for
        for rest in folder.iterdir():
            if _REST.fullmatch(rest.name):
                _remove_unlocked(rest)


def _sweep_once(folder: Path) -> None:
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def _remove_unlocked(rest: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(rest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            mode = os.fstat(handle).st_mode
            if not _try_lock(handle):
                return
            if stat.S_ISDIR(mode):
                shutil.rmtree(rest)
            elif stat.S_ISREG(mode):
                rest.unlink()
        finally:
            os.close(handle)


def _make_file(folder: Path, suffix: str) -> tuple[int, Path]:
    """Make a temporary file and lock it, so that nobody takes it for a killed process's."""
    while True:
        # Short: a long name with something in front may be longer than a name can be.
        handle, name = tempfile.mkstemp(prefix=_NEW, suffix=suffix, dir=folder)
        _try_lock(handle)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(Path(name).stat(), os.fstat(handle)):
                return handle, Path(name)
        os.close(handle)  # another process swept it away before it was locked


def _try_lock(handle: int) -> bool:
    """Lock an open file or folder; ``False`` where another process has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # file systems without locks (some network drives): as if there were none
        return True
    return True


def read_regular(path: str | os.PathLike[str], most_bytes: int | None = None) -> bytes:
    """Read a regular file, or a link to one.

    A pipe would be waited for, and a device may never end.

    Args:
        path: The file.
        most_bytes: A larger file is refused unread.

    Raises:
        OSError: The file cannot be read, is not a regular one, or is too large; ``strerror`` is
            the reason in words.
    """
    name = os.fspath(path)
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a zero byte, or half of a surrogate pair, as JSON may have it
        raise OSError(errno.EINVAL, f"no file can have that name ({error})", name) from error
    try:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", name)
        if most_bytes is not None and found.st_size > most_bytes:
            reason = f"it has {found.st_size:,} bytes (limit: {most_bytes:,})"
            raise OSError(errno.EFBIG, reason, name)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            if most_bytes is None:
                return stream.read()
            # It may have grown since; and so many bytes as are asked for are allocated.
            return stream.read(min(most_bytes, max(found.st_size, _BYTES_OF_UNKNOWN_SIZE)))
    finally:
        os.close(handle)


def _is_device(path: Path) -> bool:
    """Whether a name stands for a device, a pipe or an open file (``/dev/stdout``)."""
    if not path.exists() or path.is_dir():
        return False
    is_open_file = os.fspath(path.parent) in _OPEN_FILES or os.fspath(path) in _STREAMS
    return is_open_file or not path.is_file()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` in one piece."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8 in one piece; names of files that are not get escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON; a NaN or infinity in it is an error."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def described(error: OSError, name: str = "a file") -> str:
    """Say what the system refused, on which file, and what to do where that is known.

    Args:
        error: What was raised.
        name: What to call the file where the error does not name it.
    """
    name = str(error.filename or name)
    if error.errno == errno.ENOSPC:
        return (
            f"the disk is full: {name} was not written; free some space, or set TMPDIR to a folder "
            "on another disk if it was a temporary file"
        )
    return f"{name}: {error.strerror or error}"


def _write_error(path: Path, error: OSError) -> EdgeadError:
    if error.errno == errno.ENOSPC:
        return EdgeadError(
            f"the disk is full: {path} was not written and nothing was overwritten; "
            f"free some space on {path.parent} or choose another folder"
        )
    return EdgeadError(f"cannot write {path}: {error.strerror or error}; nothing was overwritten")
