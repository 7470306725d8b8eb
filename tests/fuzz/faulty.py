"""A target that does what none may, to see that the campaign notices."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edgead.errors import EdgeadError
from tests.fuzz.mutation import Rng, pick

MOST_MIB = 600


def build(folder: Path) -> None:
    (folder / "word.txt").write_text("good")


def load(folder: Path, scratch: Path) -> list[object]:
    (scratch / "word.txt").write_text((folder / "word.txt").read_text())
    return [_accept, _refuse, _raise, _chatter, _hoard, _hang, _spin, _crash]


def case(rng: Rng, corpus: list[object]) -> None:
    pick(rng, corpus)()


def _accept() -> None:
    pass


def _refuse() -> None:
    raise EdgeadError("it is damaged: copy it again")


def _raise() -> None:
    raise TypeError("an accident")


def _chatter() -> None:
    raise EdgeadError("x" * 100_000)


def _hoard() -> None:
    bytearray(b"x") * (700 << 20)  # free again before the case ends


def _hang() -> None:
    time.sleep(1000)


def _spin() -> None:
    while True:
        pass


def _crash() -> None:
    os.abort()
