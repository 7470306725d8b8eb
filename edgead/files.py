"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgead.errors import EdgeadError

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
        # Short: a long name with something in front may be longer than a name can be.
        handle, name = tempfile.mkstemp(prefix=".new-", suffix=final.suffix, dir=final.parent)
        os.close(handle)
    except OSError as error:
        raise _write_error(final, error) from error
    temporary = Path(name)
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


def described(error: OSError) -> str:
    """Say what the system refused, on which file, and what to do where that is known."""
    if error.errno == errno.ENOSPC:
        return (
            f"the disk is full: {error.filename or 'a file'} was not written; free some space, or "
            "set TMPDIR to a folder on another disk if it was a temporary file"
        )
    return f"{error.filename or 'a file'}: {error.strerror or error}"


def _write_error(path: Path, error: OSError) -> EdgeadError:
    if error.errno == errno.ENOSPC:
        return EdgeadError(
            f"the disk is full: {path} was not written and nothing was overwritten; "
            f"free some space on {path.parent} or choose another folder"
        )
    return EdgeadError(f"cannot write {path}: {error.strerror or error}; nothing was overwritten")
