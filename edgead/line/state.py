"""What was set while a line ran, and what its cameras said: kept over a restart.

A value holds as long as the configuration that it replaced is the same. Who changes the threshold
or the artifact in ``line.toml`` gets what the file says.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgead import files, strict_json
from edgead.errors import EdgeadError
from edgead.line.errors import ConfigError
from edgead.strict_json import Source

_SCHEMA = 1


@dataclass(frozen=True)
class StationState:
    """Of one station.

    Attributes:
        recipe: Name of the artifact's file that was switched to; ``None`` for the configured one.
        instead_of: The artifact of the configuration at that time.
        recipe_text: What the recipe file said when it was looked at last.
        thresholds: Threshold by the seal of the artifact that it was set for.
        configured: The threshold of the configuration at that time.
        camera: Options of the source when its settings were recorded, as text.
        settings: What the source said of itself then.
    """

    recipe: str | None = None
    instead_of: str = ""
    recipe_text: str | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    configured: float | None = None
    camera: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


class StateFile:
    """The state of all stations in one file, which is always whole.

    Args:
        path: The file; ``None`` to keep nothing.

    Raises:
        ConfigError: There is a file, and it is not one of these.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stations: dict[str, StationState] = {}
        if path is not None and path.exists():
            self._stations = _read(path)

    def of(self, station: str) -> StationState:
        """Return the state of a station."""
        with self._lock:
            return self._stations.get(station, StationState())

    def change(self, station: str, **values: Any) -> None:
        """Set fields of a station's state, and write the file if that changes it.

        Raises:
            EdgeadError: It cannot be written; the values hold until the process ends.
        """
        with self._lock:
            before = self._stations.get(station, StationState())
            after = replace(before, **values)
            self._stations[station] = after
            if self._path is not None and after != before:
                stations = {name: asdict(one) for name, one in self._stations.items()}
                files.write_json(self._path, {"schema": _SCHEMA, "stations": stations})


def _read(path: Path) -> dict[str, StationState]:
    advice = "remove it to start from line.toml alone"
    source = Source(str(path), ConfigError, advice)
    value = strict_json.read(path, ConfigError, advice)
    if not isinstance(value, Mapping) or value.get("schema") != _SCHEMA:
        source.fail(f"is not the state of a line (schema {_SCHEMA})")
    stations = value.get("stations")
    if not isinstance(stations, dict):
        source.fail("lacks the key 'stations'")
    return {
        name: strict_json.build(StationState, one, source, f"stations.{name}")
        for name, one in stations.items()
    }


def settings_fault(
    state: StateFile, station: str, camera: str, settings: Mapping[str, float | str]
) -> str | None:
    """Compare the settings of a camera with those of its last start, and record them.

    Args:
        state: The state.
        station: Name of the station.
        camera: Its options as text: with other options, other settings are meant.
        settings: What it says now.

    Returns:
        A sentence if they differ; the recorded ones are kept then.
    """
    before = state.of(station)
    if not settings:
        return None
    now = {name: _plain(value) for name, value in settings.items()}
    if before.camera == camera and before.settings and before.settings != now:
        changed = [
            f"{name} was {_shown(before.settings.get(name))} and is {_shown(now.get(name))}"
            for name in sorted({*before.settings, *now})
            if before.settings.get(name) != now.get(name)
        ]
        return (
            f"the camera's settings changed since the last start ({'; '.join(changed)}): set them "
            "in the configuration, or accept them with --accept-camera"
        )
    try:
        state.change(station, camera=camera, settings=now)
    except EdgeadError as error:
        return str(error)
    return None


def _shown(value: float | str | None) -> str:
    if value is None:
        return "not there"
    return value if isinstance(value, str) else f"{value:g}"


def _plain(value: float | str) -> float | str:
    return value if isinstance(value, str) else round(float(value), 6)
