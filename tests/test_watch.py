"""What watches the others can see what it must."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.watch import watch

_PHONES_HOME = """
import os, socket, subprocess, sys, threading
from pathlib import Path
def ask():
    try:
        socket.create_connection(("telemetry.example.org", 443))
    except OSError:
        pass
thread = threading.Thread(target=ask)
thread.start()
thread.join()
(Path.home() / ".cache").mkdir()
Path("named").touch()
subprocess.run(["sh", "-c", "echo id > $HOME/.cache/dévice"], check=True)
os.rename("named", "moved")
"""


def test_a_socket_of_a_thread_and_a_file_of_a_child_are_seen(tmp_path: Path) -> None:
    seen = watch([sys.executable, "-c", _PHONES_HOME], tmp_path)
    assert seen.done.returncode == 0, seen.done.stderr
    assert any("AF_INET" in call for call in seen.network)
    work, cache = tmp_path / "work", tmp_path / "home/.cache"
    assert {cache, work / "moved"} <= set(seen.made)
    assert work / "named" not in seen.made
    outside = seen.outside(work)
    assert [path.name for path in outside if path.parent == cache] == ["dévice"]
    assert seen.outside(work, tmp_path / "home", Path("/dev")) == []


def test_what_asks_for_nothing_is_seen_to_ask_for_nothing(tmp_path: Path) -> None:
    seen = watch([sys.executable, "-c", "open('named', 'w').close()"], tmp_path)
    assert (seen.network, seen.made) == ([], [tmp_path / "work/named"])
