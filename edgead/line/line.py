"""All stations of one process, with the page and the monitor."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgead import blas, notices
from edgead.errors import EdgeadError
from edgead.line.config import LineConfig
from edgead.line.monitor import Monitor
from edgead.line.notify import Notifier
from edgead.line.outputs.base import Output
from edgead.line.state import StateFile
from edgead.line.station import Station

_OPEN_S = 10.0
_SWITCH_S = 0.0005


class Line:
    """Stations that run together.

    Args:
        config: The configuration.
        limit: Verdicts of each station; ``None`` for no end.
        state: What was set while running; ``None`` reads the configured file.
        outputs: More outputs of a station, by its name.

    Raises:
        EdgeadError: An artifact cannot be opened or is for another product, or the state cannot be
            read.
    """

    def __init__(
        self,
        config: LineConfig,
        *,
        limit: int | None = None,
        state: StateFile | None = None,
        outputs: Mapping[str, Sequence[Output]] | None = None,
    ) -> None:
        self._config = config
        kept = state or StateFile(config.state)
        self.stations: list[Station] = []
        self._page: Any = None
        self._notifier = Notifier()
        self._monitor = Monitor(self.stations, self._notifier)
        try:
            for station in config.stations:
                more = (outputs or {}).get(station.name, ())
                self.stations.append(Station(station, outputs=more, state=kept, limit=limit))
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start all stations, the page and the monitor.

        Raises:
            EdgeadError: A trigger or the page cannot be opened, or no station can open its source.
                All has been stopped then.
        """
        # A thread that serves the page may hold the interpreter for so long, 5 ms by default.
        sys.setswitchinterval(_SWITCH_S)
        try:
            self._start_page()  # first: a port in use ends the line before a part is judged
            for station in self.stations:
                station.start()
            until = time.monotonic() + _OPEN_S
            errors = [
                station.wait_for_source(max(0.0, until - time.monotonic()))
                for station in self.stations
            ]
            first = next((error for error in errors if error is not None), None)
            if first is not None and all(errors):
                raise first
            self._monitor.start()
            self._notifier.ready()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Wait until every station has ended, or a signal is raised as an exception.

        Raises:
            EdgeadError: A station did not end as it should.
        """
        for station in self.stations:
            station.wait()
        for station in self.stations:
            if station.broken is not None:
                raise EdgeadError(f"{station.name}: {station.broken}")

    def stop(self) -> None:
        """End all stations; the outputs reject at the end."""
        self._notifier.stopping()
        self._monitor.stop()
        if self._page is not None:
            self._page.stop()
        for station in self.stations:
            station.stop()

    def _start_page(self) -> None:
        serve = self._config.serve
        if serve is None:
            return
        from edgead.line.page.server import Page  # type: ignore[import-not-found,unused-ignore]

        token = serve.token()
        self._page = Page(self.stations, serve.address, token)
        self._page.start()
        notices.say(f"the page is at {self._page.url}")
        if token is None:
            notices.note("nothing can be changed on the page: it has no token")


@contextlib.contextmanager
def running(line: Line) -> Iterator[Line]:
    """Run a line in this block; it is ended at the end of the block in any case."""
    # Heat maps and regions are small products, which OpenBLAS makes slow on busy cores.
    with blas.on_one_thread():
        line.start()
        try:
            yield line
        finally:
            line.stop()
