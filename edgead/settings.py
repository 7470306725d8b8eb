"""What was found best for one artifact on one device: ``edgead bench --tune --save-settings``.

A settings file is used only when it is asked for: it holds for the device it was made on.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from edgead import cpu, files, strict_json
from edgead.errors import UsageError
from edgead.strict_json import Source

_SCHEMA = 1
_SUFFIX = ".settings.json"
_LONGEST_NAME = 100  # of a runtime, and of a processor in an error


@dataclass(frozen=True)
class Settings:
    """Runtime and threads, and what they were measured for.

    Attributes:
        runtime: A runtime's name.
        threads: Threads of one inference; ``None`` for the runtime's default.
        sha256: The artifact's seal.
        device: The CPU's name.
        latency_ms: Median of a whole frame with these settings, when they were found.
    """

    runtime: str
    threads: int | None
    sha256: str
    device: str
    latency_ms: float

    @classmethod
    def path_for(cls, artifact: str | os.PathLike[str]) -> Path:
        """Return where an artifact's settings lie: beside it, ``NAME.settings.json``."""
        path = Path(artifact)
        return path.with_name(path.stem + _SUFFIX)

    @classmethod
    def read(cls, artifact: str | os.PathLike[str], sha256: str) -> Settings:
        """Read the settings beside an artifact.

        Args:
            artifact: The exported file.
            sha256: Its seal.

        Raises:
            UsageError: There are none, they are damaged, or they were made for another artifact
                or another CPU.
        """
        path = cls.path_for(artifact)
        command = shlex.join(["edgead", "bench", os.fspath(artifact), "--tune", "--save-settings"])
        again = f"make them with: {command}"
        source = Source(str(path), UsageError, again)
        data = strict_json.read(path, UsageError, again)
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            source.fail(f"is not a settings file of schema {_SCHEMA}")
        settings = strict_json.build(cls, data, source)
        if len(settings.runtime) > _LONGEST_NAME:
            source.fail(f"has a runtime name of {len(settings.runtime):,} characters")
        if settings.sha256 != sha256:
            raise UsageError(
                f"{path} was made for another export of the detector (sha256 "
                f"{settings.sha256[:12]}…, and {artifact} has {sha256[:12]}…): {again}"
            )
        if settings.device != cpu.model_name():
            raise UsageError(
                f"{path} was made on '{settings.device[:_LONGEST_NAME]}', and this is "
                f"'{cpu.model_name()}': {again}"
            )
        return settings

    def write(self, artifact: str | os.PathLike[str]) -> Path:
        """Write them beside an artifact and return the file."""
        path = self.path_for(artifact)
        files.write_json(path, {"schema": _SCHEMA, **asdict(self)})
        return path
