"""Keeps frames in a folder of bounded size: to look at, and to teach the detector from.

Each frame is a picture with a JSON file beside it; either appears whole or not at all. Only files
of the names that are given here are ever removed.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2

from edgead import files
from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.line.errors import OutputError
from edgead.line.outputs.base import Output
from edgead.line.verdict import Judged, Verdict

Why: TypeAlias = Literal["anomaly", "failure", "near", "random"]

_NAME = r"\d{{8}}T\d{{6}}\.\d{{3}}Z-{}-\d{{8,}}-(anomaly|failure|near|random)\.(png|jpg|json)"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class KeepOptions:
    """What is kept, and how much of it.

    Attributes:
        folder: Where; made when missing. Several stations may share it; the bounds are for each.
        near: Frames whose score is this near to the threshold are kept, as a share of the
            threshold's size: 0.1 keeps scores within 10 % of it.
        share: Share of the other frames that is kept, drawn at random.
        seed: Of the drawing.
        max_files: Most frames; the oldest are removed.
        max_bytes: Most bytes of all of them.
        format: ``png`` without loss, or ``jpg``.
    """

    folder: Path
    near: float = 0.1
    share: float = 0.0
    seed: int = 0
    max_files: int = 1000
    max_bytes: int = 1_000_000_000
    format: str = "png"

    def __post_init__(self) -> None:
        if not 0 <= self.near <= 1 or not 0 <= self.share <= 1:
            raise ValueError("near and share must be from 0 to 1")
        if self.max_files < 1 or self.max_bytes < 1:
            raise ValueError("max_files and max_bytes must be at least 1")
        if self.format not in ("png", "jpg"):
            raise ValueError(f"format must be png or jpg, not {self.format!r}")


@dataclass(frozen=True)
class _Kept:
    stem: str
    paths: tuple[Path, ...]
    size: int


class Keep(Output):
    """Writes rejected frames, frames near the threshold and a random share of the others."""

    Options = KeepOptions
    uses_pictures = True
    queue = 8

    def __init__(self, options: KeepOptions, station: str) -> None:
        super().__init__(options, station)
        self._folder = Path(options.folder)
        self._name = re.compile(_NAME.format(re.escape(station)))
        self._random = random.Random(options.seed)
        self._kept: deque[_Kept] = deque()
        self._size = 0

    def open(self) -> None:
        """Make the folder, and count what is in it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files.sweep(self._folder)
            self._count()
        except OSError as error:
            raise OutputError(files.described(error, str(self._folder))) from error

    def deliver(self, judged: Judged) -> None:
        """Write a frame that is worth it."""
        why = self._why(judged.verdict)
        if why is None or judged.picture is None:
            return
        data = _encoded(judged.picture, self.options.format)
        values = {**judged.verdict.to_json(), "kept": why}
        record = json.dumps(values, indent=2).encode() + b"\n"
        self._make_room(len(data) + len(record))
        stem = _stem(judged.verdict, why)
        picture = self._folder / f"{stem}.{self.options.format}"
        beside = self._folder / f"{stem}.json"
        try:
            files.write_bytes(picture, data)
            files.write_bytes(beside, record)
        except EdgeadError as error:
            picture.unlink(missing_ok=True)
            raise OutputError(str(error)) from error
        self._kept.append(_Kept(stem, (picture, beside), len(data) + len(record)))
        self._size += self._kept[-1].size

    def fail(self, reason: str) -> None:
        """Nothing: there is no frame."""

    def recover(self) -> None:
        """Nothing: frames follow."""

    def close(self) -> None:
        """Nothing: each file is closed when it is written."""

    def _why(self, verdict: Verdict) -> Why | None:
        drawn = self._random.random() < self.options.share
        if verdict.state != "good":
            return verdict.state
        assert verdict.score is not None
        assert verdict.threshold is not None
        if abs(verdict.score - verdict.threshold) <= self.options.near * abs(verdict.threshold):
            return "near"
        return "random" if drawn else None

    def _count(self) -> None:
        found: dict[str, list[Path]] = {}
        for path in self._folder.iterdir():
            if self._name.fullmatch(path.name) and path.is_file():
                found.setdefault(path.name.rpartition(".")[0], []).append(path)
        kept = [
            _Kept(stem, tuple(paths), sum(path.stat().st_size for path in paths))
            for stem, paths in sorted(found.items())
        ]
        self._kept = deque(kept)
        self._size = sum(one.size for one in kept)

    def _make_room(self, needed: int) -> None:
        if needed > self.options.max_bytes:
            raise OutputError(
                f"a frame needs {needed:,} bytes, and max_bytes is {self.options.max_bytes:,}"
            )
        while self._kept and (
            len(self._kept) >= self.options.max_files
            or self._size + needed > self.options.max_bytes
        ):
            oldest = self._kept.popleft()
            self._size -= oldest.size
            for path in oldest.paths:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _encoded(picture: Image, kind: str) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if kind == "jpg" else []
    done, encoded = cv2.imencode(f".{kind}", picture, settings)
    if not done:
        raise OutputError(f"OpenCV cannot encode a frame as {kind}")
    return encoded.tobytes()


def _stem(verdict: Verdict, why: Why) -> str:
    """Name a frame so that names sort by time; nothing of the camera's or file's name is in it."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(verdict.at))
    thousandths = int(verdict.at % 1 * 1000)
    return f"{moment}.{thousandths:03}Z-{verdict.station}-{verdict.number:08}-{why}"
