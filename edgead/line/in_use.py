"""The detector that a station uses, which may be exchanged between two frames."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from edgead import files, notices
from edgead.artifact import read_artifact
from edgead.detection import Detection
from edgead.detector import EdgeDetector
from edgead.errors import EdgeadError, UsageError
from edgead.images import Image
from edgead.line.config import StationConfig
from edgead.line.errors import ConfigError
from edgead.line.state import StateFile, StationState
from edgead.printable import printable

_MOST_BYTES = 4096


@dataclass(frozen=True)
class Scored:
    """A detection, and what it was made with."""

    detection: Detection
    artifact: str
    seal: str


class InUse:
    """A detector with its threshold, and what of both is remembered over a restart.

    Args:
        config: Of the station.
        state: What was set while running.

    Attributes:
        fault: Why the recipe that should be in use is not: a sentence, until one is chosen.

    Raises:
        EdgeadError: The artifact cannot be opened here, or is for another product.
    """

    def __init__(self, config: StationConfig, state: StateFile) -> None:
        self._config = config
        self._state = state
        self._changing = threading.Lock()
        self._scoring = threading.Lock()
        if config.recipes is not None and not config.recipes.is_dir():
            raise ConfigError(
                f"station '{config.name}': recipes = {str(config.recipes)!r} is no folder"
            )
        detector, name, self.fault = _first(config, state)
        self._use(detector, name)

    def score(self, picture: Image) -> Scored:
        """Score a frame; a change waits until it has been.

        Raises:
            EdgeadError: As a call of the detector.
        """
        with self._scoring:
            return Scored(self._detector(picture), self.artifact, self.seal)

    def _use(self, detector: EdgeDetector, name: str) -> None:
        self._detector = detector
        self.artifact = name
        self.seal = detector.artifact.sha256
        self.info = detector.runtime
        self._adjust(detector)

    def _adjust(self, detector: EdgeDetector) -> None:
        """Set the threshold that was configured, or set while running for this very file."""
        kept, configured = self._state.of(self._config.name), self._config.threshold
        if configured is not None and detector.artifact.path == self._config.artifact:
            detector.threshold = configured
        value = kept.thresholds.get(self.seal)
        if value is not None and kept.configured == configured:
            detector.threshold = value
            notices.note(
                f"{self._config.name}: the threshold is {value:g}, as it was set while running"
            )

    @property
    def runtime(self) -> str:
        """Name, version and threads of the runtime."""
        threads = "" if self.info.threads is None else f", {self.info.threads} threads"
        return f"{self.info.name} {self.info.version}{threads}"

    @property
    def threshold(self) -> float:
        """A score above it is an anomaly."""
        return self._detector.threshold

    def set_threshold(self, value: float) -> None:
        """Judge with another threshold from the next frame on, and after a restart.

        Raises:
            UsageError: It is not a finite number.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UsageError(f"the threshold must be a finite number, not {str(value)[:40]!r}")
        with self._changing:
            self._detector.threshold = value
            kept = self._state.of(self._config.name).thresholds
            self._state.change(
                self._config.name,
                thresholds={**kept, self.seal: float(value)},
                configured=self._config.threshold,
            )

    def replace(self, new: EdgeDetector, name: str) -> None:
        """Use another detector from the next frame on, and close the old."""
        with self._changing:
            with self._scoring:
                old = self._detector
                self._use(new, name)
                self.fault = None
            old.close()

    def close(self) -> None:
        """Close the detector."""
        with self._changing:
            self._detector.close()


def open_checked(path: Path, config: StationConfig) -> EdgeDetector:
    """Open an artifact as a station wants it.

    Raises:
        EdgeadError: It cannot be opened, or is for another product.
    """
    if config.product is not None:
        found = read_artifact(path).manifest.training.dataset
        if found != config.product:
            raise UsageError(
                f"{path} is an artifact for another product: it was made from the data set "
                f"{printable(found)[:60]!r}, and station '{config.name}' has product = "
                f"{config.product!r}"
            )
    return EdgeDetector(path, config.runtime, threads=config.threads)


def text_of(path: Path) -> str | None:
    """Return the first line of a recipe file; ``None`` while there is nothing in it."""
    try:
        text = files.read_regular(path, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    return text.partition("\n")[0].strip() or None


def _first(config: StationConfig, state: StateFile) -> tuple[EdgeDetector, str, str | None]:
    """Open the artifact that is used at the start: configured, or changed to meanwhile.

    Returns:
        The detector, the name of its file, and why it is not the one that is wanted.
    """
    fault = None
    kept = state.of(config.name)
    text = None if config.recipe_file is None else text_of(config.recipe_file)
    for wanted in _wanted(config, kept, text):
        assert config.recipes is not None
        try:
            if wanted not in config.recipe_names():
                raise UsageError(f"there is no recipe {printable(wanted)[:60]!r}")
            detector = open_checked(config.recipes / wanted, config)
        except EdgeadError as error:
            fault = fault or f"the recipe cannot be used: {error}; choose one"
        else:
            notices.note(f"{config.name}: the recipe is {wanted}, as it was set while running")
            if wanted == text:
                instead_of = str(config.artifact)
                state.change(config.name, recipe=wanted, instead_of=instead_of, recipe_text=text)
            return detector, wanted, fault
    return open_checked(config.artifact, config), config.artifact.name, fault


def _wanted(config: StationConfig, kept: StationState, text: str | None) -> list[str]:
    """Return what the recipe file says now, if that is new, and the recipe that was in use."""
    if config.recipes is None:
        return []
    found = [] if text is None or text == kept.recipe_text else [text]
    if kept.recipe is not None and kept.instead_of == str(config.artifact):
        found.append(kept.recipe)
    return found
