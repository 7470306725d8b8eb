"""Starts Python again for a part of the work, isolated from what lies in the working directory.

``python -m`` and ``python -c`` look for modules in the working directory first, so that a file
``numpy.py`` of somebody else would be run there.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_START = """
import json, runpy, site, sys
module, path, has_user_site, arguments = json.loads(sys.argv[1])
if has_user_site and sys.prefix == sys.base_prefix:
    site.addsitedir(site.getusersitepackages())
sys.path[:] = dict.fromkeys([*path, *sys.path])
sys.argv[1:] = arguments
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    python: str | None = None,
    search_path: Sequence[str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a module in a new interpreter, and wait for it.

    It sees the packages that this process sees, but for the working directory; nothing is read
    from the ``PYTHON...`` variables; its standard input is empty.

    Args:
        module: With a ``__main__`` part, which finds ``arguments`` in ``sys.argv``.
        arguments: Any text, names of files that are not UTF-8 included.
        python: Another interpreter than this one; it then has packages of its own.
        search_path: Folders to look for modules in before all others; ``None`` for those of this
            process.
        folder: Where it runs; ``None`` for the working directory.
    """
    path = trusted_path() if search_path is None else list(search_path)
    has_user_site = python is not None or bool(site.ENABLE_USER_SITE)
    given = json.dumps([module, path, has_user_site, list(arguments)])
    flags = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
    return subprocess.run(
        [python or sys.executable, *flags, "-c", _START, given],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        cwd=folder,
        env=_environment(),
    )


def trusted_path() -> list[str]:
    """Return where this process looks for modules, without the working directory.

    The folder of a script that is being run stays, wherever it was started: what lies there
    belongs to the script.
    """
    own = _script_folder()
    return [
        entry
        for entry in sys.path
        if entry == own or (Path(entry).is_absolute() and _is_elsewhere(entry))
    ]


def named_path() -> list[str]:
    """Return the folders that ``$PYTHONPATH`` names, without the working directory.

    For an interpreter with packages of its own, which needs what its user adds to them.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [entry for entry in entries if Path(entry).is_absolute() and _is_elsewhere(entry)]


def _script_folder() -> str | None:
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    is_script = script is not None and getattr(main, "__spec__", None) is None
    return str(Path(script).resolve().parent) if is_script and script is not None else None


def _is_elsewhere(entry: str) -> bool:
    try:
        return not Path(entry).samefile(Path.cwd())
    except OSError:  # a folder that is not there, or a working directory that was deleted
        return True


def _environment() -> dict[str, str]:
    """Return this process's environment without what changes an interpreter."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
