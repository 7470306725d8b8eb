"""The folder that an export writes into: one export at a time, and no file outside of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from edgead import files
from edgead.errors import ArtifactError, UsageError
from edgead.printable import printable


@contextlib.contextmanager
def export_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Keep an export folder for one export, and remove what a killed export left in it.

    A new folder into which nothing was written is removed again.

    Args:
        path: The folder; made when missing.

    Yields:
        The folder.

    Raises:
        UsageError: It is a file, or its name is empty.
        EdgeadError: Another process exports into it, or it cannot be made.
    """
    if not os.fspath(path):
        raise UsageError("the name of the export folder is empty; is a variable in it not set?")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder for the exports with --out DIR")
    is_new = not folder.exists()
    with files.locked_folder(folder):
        try:
            yield folder
        except BaseException:
            if is_new:
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()
            raise


def file_in(folder: Path, name: str) -> Path:
    """Return the path of a file that lies directly in a folder.

    The name comes from a manifest, which anybody can have written.

    Raises:
        ArtifactError: The name is not that of a file, but leads elsewhere.
    """
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise ArtifactError(
            f"'{printable(name)}' is not the name of a file in {folder}, and nothing was written "
            "there: the manifest of what is exported was not written by edgead; export the run "
            "folder again"
        )
    return folder / name
