"""The configuration of a line: ``line.toml``, and the dataclasses that it becomes.

docs/reference/line.md has the keys. The command line sets the same ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from edgead import files, photo_files
from edgead.artifact import containers
from edgead.errors import MissingDependencyError
from edgead.line import options, parts
from edgead.line.errors import ConfigError
from edgead.line.options import Place, Text
from edgead.printable import printable

_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_MOST_BYTES = 1 << 20
_Part = TypeVar("_Part", bound="PartConfig")

TOKEN_VARIABLE = "EDGEAD_TOKEN"


@dataclass(frozen=True)
class PartConfig:
    """One source, trigger or output: its kind, and its options as its class declares them."""

    role: ClassVar[str]
    kind: str
    options: Any

    @classmethod
    def from_table(cls: type[_Part], table: object, place: Place) -> _Part:
        """Find the kind, and read the other keys as its options."""
        if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
            place.fail(f"needs kind = ...; there are {', '.join(parts.kinds(cls.role))}")
        kind = str(table["kind"])
        try:
            found = parts.find(cls.role, kind)
        except ConfigError as error:
            place.fail(str(error))
        rest = {key: value for key, value in table.items() if key != "kind"}
        return cls(kind, options.read(found.Options, rest, place))

    def to_table(self, folder: Path) -> dict[str, Any]:
        """Return the table that :meth:`from_table` reads."""
        return {"kind": self.kind, **options.written(self.options, folder)}

    def make(self, *more: Any) -> Any:
        """Return the part itself."""
        return parts.find(self.role, self.kind)(self.options, *more)


@dataclass(frozen=True)
class SourceConfig(PartConfig):
    """Where frames come from."""

    role = "source"


@dataclass(frozen=True)
class TriggerConfig(PartConfig):
    """What says that a part is there."""

    role = "trigger"


@dataclass(frozen=True)
class OutputConfig(PartConfig):
    """Where verdicts go."""

    role = "output"


@dataclass(frozen=True)
class ServeConfig:
    """The page.

    Attributes:
        address: ``HOST:PORT``.
        token_file: Its first line is the token; without it, ``EDGEAD_TOKEN`` is looked at.
    """

    address: str = "127.0.0.1:8080"
    token_file: Path | None = None

    def __post_init__(self) -> None:
        host, colon, port = self.address.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) < 65536):
            raise ValueError(f"address must be HOST:PORT, not {self.address!r}")

    def token(self) -> str | None:
        """Return the token; ``None`` where nothing may be changed.

        Raises:
            ConfigError: The file cannot be read, or is empty.
        """
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE) or None
        token = _text_of(self.token_file).partition("\n")[0].strip()
        if not token:
            raise ConfigError(f"{self.token_file} is empty: write a token into its first line")
        return token


@dataclass(frozen=True)
class StationConfig:
    """One camera, one detector, and its outputs.

    Attributes:
        artifact: The artifact at the start.
        source: Where frames come from; a program may give it to the station itself.
        name: Of the station; in every verdict.
        recipes: Folder of artifacts that may be switched to.
        recipe_file: A file whose first line names the recipe; watched.
        product: Name of the data set that every artifact of this station must have been made from.
        threshold: In place of the artifact's own; for :attr:`artifact` alone.
        runtime: As in ``edgead predict --runtime``.
        threads: Of one inference; ``None`` for the runtime's default.
        rate: Frames a second that are judged at most, without a trigger; ``None`` for all.
        late_ms: A trigger whose verdict takes longer is rejected.
        camera_ms: From the exposure until a frame arrives. A frame that arrives sooner after a
            trigger shows what was there before it, and is passed over.
        stale_s: Without a frame from a live source, or a verdict for one, for so long, all is
            rejected.
        frozen_frames: So many frames of a live source that are equal in every byte are a frozen
            picture; 0 switches the check off.
        trigger: ``None`` for every new frame.
        outputs: Where verdicts go.
    """

    artifact: Path
    source: SourceConfig | None = None
    name: str = "line"
    recipes: Path | None = None
    recipe_file: Path | None = None
    product: str | None = None
    threshold: float | None = None
    runtime: str = "auto"
    threads: int | None = None
    rate: float | None = None
    late_ms: float = 500.0
    camera_ms: float = 0.0
    stale_s: float = 2.0
    frozen_frames: int = 30
    trigger: TriggerConfig | None = None
    outputs: tuple[OutputConfig, ...] = field(default=(), metadata={"key": "output"})

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name must be 1 to 40 of a-z, 0-9, _ and -, not {printable(self.name)[:60]!r}"
            )
        if self.rate is not None and not 0 < self.rate <= 10_000:
            raise ValueError(f"rate must be above 0 and at most 10000, not {self.rate:g}")
        if self.rate is not None and self.trigger is not None:
            raise ValueError("rate is for a station without a trigger: leave out one of the two")
        if not 0 < self.late_ms <= 3.6e6:
            raise ValueError(f"late_ms must be above 0 and at most an hour, not {self.late_ms:g}")
        if not 0 <= self.camera_ms < self.late_ms:
            raise ValueError(f"camera_ms must be from 0 to less than late_ms ({self.late_ms:g})")
        if not 0 < self.stale_s <= 3600:
            raise ValueError(f"stale_s must be above 0 and at most an hour, not {self.stale_s:g}")
        if self.threads is not None and not 0 < self.threads <= 1024:
            raise ValueError(f"threads must be from 1 to 1024, not {self.threads}")
        if self.frozen_frames < 0 or self.frozen_frames == 1:
            raise ValueError(
                f"frozen_frames must be 0 (off), or 2 or more, not {self.frozen_frames}"
            )
        if self.recipe_file is not None and self.recipes is None:
            raise ValueError("recipe_file needs recipes = FOLDER")

    def recipe_names(self) -> tuple[str, ...]:
        """Return the names of the artifacts that may be switched to, sorted."""
        if self.recipes is None:
            return ()
        known = containers.suffixes()
        with contextlib.suppress(OSError):
            paths = [path for path in self.recipes.iterdir() if path.suffix in known]
            return tuple(
                sorted(path.name for path in paths if path.name[0] != "." and path.is_file())
            )
        return ()


@dataclass(frozen=True)
class LineConfig:
    """All stations of one process.

    Attributes:
        stations: At least one; names differ.
        state: File for what is set while running; ``None`` to forget it.
        serve: The page; ``None`` for none.
    """

    stations: tuple[StationConfig, ...] = field(metadata={"key": "station"})
    state: Path | None = None
    serve: ServeConfig | None = None

    def __post_init__(self) -> None:
        if not self.stations:
            raise ValueError("there is no [[station]]")
        names = [station.name for station in self.stations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two stations have the name {name!r}")
        for station in self.stations:
            if station.trigger is not None and station.trigger.kind == "http" and not self.serve:
                raise ValueError(f"the trigger http of station {station.name!r} needs [serve]")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], place: Place) -> LineConfig:
        """Read the keys of a whole configuration.

        Raises:
            ConfigError: Something in it is wrong; names the place, the key and the nearest valid
                one.
        """
        return options.read(cls, table, place)

    def to_toml(self, folder: Path) -> str:
        """Return the whole configuration, defaults included, as :meth:`from_table` reads it.

        Args:
            folder: Of the file; paths inside of it become relative.
        """
        try:
            import tomli_w
        except ImportError as error:
            raise MissingDependencyError("--write-config", "tomli-w", "line") from error
        table = options.written(self, folder)
        stations = table.pop("station")
        return tomli_w.dumps({**table, "station": stations})


def table_of(path: Path) -> dict[str, Any]:
    """Read a configuration file; the state lies beside it unless it says otherwise.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise MissingDependencyError("line.toml", "tomli", "line") from error
    try:
        table = tomllib.loads(_text_of(path))
    except RecursionError as error:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    stations = table.get("station", [])
    if not isinstance(stations, list) or not all(isinstance(one, dict) for one in stations):
        raise ConfigError(f"{path}: station must be a table with two brackets: [[station]]")
    if not isinstance(table.get("serve", {}), dict):
        raise ConfigError(f"{path}: serve must be a table: [serve]")
    return {"state": f"{path.stem}-state.json", **table}


def place_of(path: Path) -> Place:
    """Return the place that a configuration file is."""
    return Place(path.absolute().parent, str(path))


def with_values(table: Mapping[str, Any], values: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a configuration with values of the command line in it (``--set``).

    Args:
        table: The configuration.
        values: Keys and values. A key is that of the file with dots between: ``state``,
            ``serve.address``, or of every station ``rate``, ``source.width``, ``output.1.host``
            (outputs count from 1); of one station with its name in front: ``left.rate``.

    Raises:
        ConfigError: A key leads to nothing.
    """
    changed: dict[str, Any] = _copied(table)
    for key, text in values:
        stations = changed.setdefault("station", [{}])
        words = key.split(".")
        named = [one for one in stations if isinstance(one, dict) and one.get("name") == words[0]]
        own = {name for name in options.keys(LineConfig) if name != "station"}
        if words[0] in own:
            _set(changed, words, Text(text), key)
            continue
        for station in named or stations:
            _set(station, words[1:] if named else words, Text(text), key)
    return changed


def source_of(text: str) -> dict[str, Any]:
    """Return the table of a source that is given in one word.

    Args:
        text: ``0``, ``/dev/video0``, ``rtsp://...``, a folder, a video file, ``picamera2[:N]``,
            ``aravis[:NAME]``, or ``KIND:key=value,...``.

    Raises:
        ConfigError: It is none of them.
    """
    kind, colon, rest = text.partition(":")
    if text.isdecimal() or text.startswith("/dev/"):
        return {"kind": "camera", "device": Text(text)}
    if text.startswith(("rtsp://", "rtsps://")):
        return {"kind": "rtsp", "url": text}
    if kind in ("picamera2", "aravis") and "=" not in rest:
        return {"kind": kind, **({"camera": Text(rest)} if rest else {})}
    if kind in parts.kinds("source") and (colon or not Path(text).exists()):
        return part_of(text, "--source")
    path = Path(text)
    if path.is_dir():
        return {"kind": "folder", "path": str(path.absolute())}
    if path.suffix.lower() in photo_files.SUFFIXES and path.is_file():
        raise ConfigError(
            printable(
                f"--source {text} is a photo: give its folder, or use 'edgead predict {text}'"
            )
        )
    if path.is_file():
        return {"kind": "video", "path": str(path.absolute())}
    raise ConfigError(
        printable(
            f"--source {text}: there is no such camera, folder or file; give 0 or /dev/video0, "
            "rtsp://..., a folder, a video file, picamera2 or aravis"
        )
    )


def part_of(text: str, option: str) -> dict[str, Any]:
    """Return the table of ``KIND[:key=value,...]``.

    Raises:
        ConfigError: It is not of that form.
    """
    kind, _, rest = text.partition(":")
    table: dict[str, Any] = {"kind": kind}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigError(f"{option} takes KIND:key=value,key=value, not {printable(text)!r}")
        table[key.strip()] = Text(value)
    return table


def _set(table: dict[str, Any], words: Sequence[str], value: Text, key: str) -> None:
    at: Any = table
    for word in words[:-1]:
        if isinstance(at, list) and word.isdecimal() and 1 <= int(word) <= len(at):
            at = at[int(word) - 1]
        elif isinstance(at, dict):
            at = at.setdefault(word, {})
        else:
            raise ConfigError(f"--set {printable(key)}: there is nothing at {word!r}")
    if not isinstance(at, dict) or not words or not words[-1]:
        raise ConfigError(f"--set {printable(key)}: this is not a key of the configuration")
    at[words[-1]] = value


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _text_of(path: Path) -> str:
    try:
        return files.read_regular(path, _MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
