"""Changes the artifact of a station while it runs, from a thread of its own.

The old detector works until the new one has scored the last frame. One that cannot be opened, is
for another product or fails on that frame changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgead import notices
from edgead.errors import EdgeadError, UsageError
from edgead.images import Image
from edgead.line import options
from edgead.line.config import StationConfig
from edgead.line.in_use import InUse, open_checked, text_of
from edgead.line.state import StateFile
from edgead.line.status import PartStatus
from edgead.printable import printable

_LOOK_S = 0.2


class Recipes:
    """The artifacts of a station's folder, and the thread that changes to one of them.

    Args:
        config: Of the station.
        in_use: The detector to exchange.
        last_picture: Returns the last frame, which the new detector must score first.
        state: Remembers what the recipe file said.
    """

    def __init__(
        self,
        config: StationConfig,
        in_use: InUse,
        last_picture: Callable[[], Image | None],
        state: StateFile,
    ) -> None:
        self._config = config
        self._in_use = in_use
        self._last_picture = last_picture
        self._state = state
        self._wanted: str | None = None
        self._is_stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._run, name=f"edgead-{config.name}-recipes", daemon=True
        )
        self._looked_at = state.of(config.name).recipe_text
        self._fault: str | None = None
        self._changes = 0
        self._errors = 0

    def status(self) -> PartStatus:
        """Return how many changes there were, and why the last one did not come about."""
        return PartStatus("recipe", "folder", self._fault, done=self._changes, errors=self._errors)

    def start(self) -> None:
        """Begin to wait for changes; a station without a folder has none."""
        if self._config.recipes is not None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def want(self, name: str) -> None:
        """Begin to change to a recipe; of several, only the last counts.

        Raises:
            UsageError: There is no such recipe.
        """
        self._check(name)
        with self._changed:
            self._wanted = name
            self._changed.notify()

    def _check(self, name: str) -> None:
        known = self._config.recipe_names()
        if name not in known:
            shown = printable(name)[:60]
            raise UsageError(
                f"there is no recipe {shown!r}; {options.nearest(shown, known)}"
                if known
                else f"there is no recipe {shown!r}: the station has no folder with recipes"
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_stopping or self._wanted is not None,
                    None if self._config.recipe_file is None else _LOOK_S,
                )
                if self._is_stopping:
                    return
                name, self._wanted = self._wanted, None
            try:
                if name is None:
                    self._look_at_file()
                else:
                    self._change(name)
            except Exception as error:  # whatever it is, the old one works
                known = isinstance(error, EdgeadError)
                self._report(str(error) if known else f"{type(error).__name__}: {error}")

    def _look_at_file(self) -> None:
        assert self._config.recipe_file is not None
        text = text_of(self._config.recipe_file)
        if text is not None and text != self._looked_at:
            self._looked_at = text
            self._check(text)
            self._change(text)

    def _change(self, name: str) -> None:
        assert self._config.recipes is not None
        new = open_checked(self._config.recipes / name, self._config)
        try:
            picture = self._last_picture()
            if picture is not None:
                new(picture)
        except BaseException:
            new.close()
            raise
        self._in_use.replace(new, name)
        self._fault = None
        self._changes += 1
        notices.say(f"{self._config.name}: the recipe is {printable(name)} now")
        try:
            # Only now: what was refused, or not finished by a killed process, is tried again.
            self._state.change(
                self._config.name,
                recipe=name,
                instead_of=str(self._config.artifact),
                recipe_text=self._looked_at,
            )
        except EdgeadError as error:
            self._fault = f"the recipe will be another after a restart: {error}"

    def _report(self, reason: str) -> None:
        self._errors += 1
        self._fault = f"the recipe was not changed: {reason}"
        notices.warn(f"{self._config.name}: {self._fault}")
