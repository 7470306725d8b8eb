"""GPIO lines through libgpiod's Python package, for the trigger and the output."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from edgead.errors import EdgeadError, MissingDependencyError
from edgead.line.errors import OutputError
from edgead.printable import printable

CONSUMER = "edgead"


def gpiod(what: str) -> ModuleType:
    """Return libgpiod's package.

    Args:
        what: What needs it, such as ``the output gpio``.

    Raises:
        MissingDependencyError: It is not installed, or is of version 1.
    """
    try:
        import gpiod as package
    except ImportError as error:
        raise MissingDependencyError(what, "gpiod", "line") from error
    if not hasattr(package, "request_lines"):
        raise EdgeadError(
            f"{what} needs version 2 of the package 'gpiod', and another is installed here: "
            "pip install 'edgead[line]'"
        )
    return package


def request(package: ModuleType, chip: str, settings: Mapping[int | str, Any]) -> Any:
    """Take lines of a chip.

    Args:
        package: From :func:`gpiod`.
        chip: The device, such as ``/dev/gpiochip0``.
        settings: ``gpiod.LineSettings`` by line: its offset or its name.

    Returns:
        A ``gpiod.LineRequest``.

    Raises:
        OutputError: There is no such chip or line, it is in use, or access is denied.
    """
    try:
        return package.request_lines(chip, config=dict(settings), consumer=CONSUMER)
    except (OSError, ValueError) as error:
        raise OutputError(_refusal(package, chip, settings, error)) from error


def _refusal(package: ModuleType, chip: str, lines: Mapping[int | str, Any], error: Any) -> str:
    names = " and ".join(printable(str(line)) for line in lines)
    where = f"GPIO {'line' if len(lines) == 1 else 'lines'} {names} of {printable(chip)}"
    code = getattr(error, "errno", None)
    if code == errno.EBUSY:
        users = _users(package, chip, lines)
        return f"{where} in use{users}: stop the other program, or choose another line"
    if code in (errno.EACCES, errno.EPERM):
        return f"{where}: access is denied; add the user of edgead to the group of {chip}"
    if code == errno.ENOENT and not Path(chip).exists():
        there = ", ".join(sorted(map(str, Path("/dev").glob("gpiochip*")))) or "there is none"
        return f"there is no GPIO chip {printable(chip)} (here: {there})"
    if code in (errno.ENOENT, errno.EINVAL) or isinstance(error, ValueError):
        return f"{where}: there is no such line; gpioinfo lists them"
    return f"{where}: {printable(str(error))}"


def _users(package: ModuleType, chip: str, lines: Mapping[int | str, Any]) -> str:
    users = []
    with contextlib.suppress(OSError, ValueError), package.Chip(chip) as opened:
        for line in lines:
            info = opened.get_line_info(line)
            if info.used:
                users.append(
                    f"{printable(str(line))} by {printable(info.consumer or 'the kernel')}"
                )
    return f" ({', '.join(users)})" if users else ""
