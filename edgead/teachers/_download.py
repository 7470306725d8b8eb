"""Fetching published weights once, with a pinned hash."""

from __future__ import annotations

import hashlib
import http.client
import shlex
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from edgead import files
from edgead.calibration import cache
from edgead.errors import EdgeadError
from edgead.progress import progress

_TIMEOUT = 20.0  # seconds
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Published:
    """A file that somebody publishes.

    Attributes:
        file: Its name on the host.
        sha256: Of the file.
        size: Size of the file in bytes.
    """

    file: str
    sha256: str
    size: int


def fetch(host: str, wanted: Published, what: str, option: str) -> tuple[Path, bytes]:
    """Return the content of a published file: from the cache folder, or downloaded to it.

    Args:
        host: URL that the file's name is added to.
        wanted: The file.
        what: What it is, for errors.
        option: How to give a file instead, for errors.

    Returns:
        Where it is, and its bytes: those that were checked against the published hash.

    Raises:
        EdgeadError: It cannot be downloaded here, or what came or is in the cache is another file;
            says where to get it and where to put it.
    """
    path = cache.folder() / wanted.file
    if not path.exists():
        _download(host, wanted, path, what, option)
    try:
        data = files.read_regular(path, wanted.size)
        reason = "" if hashlib.sha256(data).hexdigest() == wanted.sha256 else "its sha256 differs"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise EdgeadError(
            f"{path} is not the published file of that name ({reason}): it is truncated or was "
            f"changed; remove it with: rm {shlex.quote(str(path))}, and run the command again"
        )
    return path, data


def _download(host: str, wanted: Published, path: Path, what: str, option: str) -> None:
    url = host + wanted.file
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            for chunk in progress(
                iter(lambda: response.read(_CHUNK), b""),
                total=-(-wanted.size // _CHUNK),
                label=f"downloading {wanted.file} (MiB)",
            ):
                data += chunk
                if len(data) > wanted.size:  # another file, and perhaps one without an end
                    break
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise EdgeadError(
            f"{what} are not on this machine and cannot be downloaded here ({reason}): fetch {url} "
            f"on a machine with a network and put it at {path}, or give a file with {option}"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != wanted.sha256:
        raise EdgeadError(
            f"the download from {url} is not the published file (sha256 {digest}, expected "
            f"{wanted.sha256}) and was discarded: try again, or put the file at {path} yourself"
        )
    files.write_bytes(path, bytes(data))
