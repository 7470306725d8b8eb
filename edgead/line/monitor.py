"""The thread that looks after all stations of a line, and tells the service manager."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edgead import notices
from edgead.line.notify import Notifier
from edgead.line.station import Station

_LOOK_S = 0.1
_STATUS_S = 1.0


class Monitor:
    """Looks at every station ten times a second.

    A station that judges nothing in time tells its outputs to reject, prints one line for each
    fault, and keeps the watchdog of systemd waiting, which then starts the process again.

    Args:
        stations: To look after.
        notifier: Of the service manager.
    """

    def __init__(self, stations: Sequence[Station], notifier: Notifier) -> None:
        self._stations = stations
        self._notifier = notifier
        self._stop = threading.Event()
        self._seen: set[tuple[str, str]] = set()  # faults of the last look, by station and part
        self._faults: set[tuple[str, str]] = set()  # those that were printed
        self._warned = ""
        self._thread = threading.Thread(target=self._run, name="edgead-monitor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        status_at = 0.0
        while not self._stop.wait(_LOOK_S):
            problems = [problem for station in self._stations if (problem := station.look())]
            if not problems:
                self._notifier.alive()
            if time.monotonic() >= status_at:
                status_at = time.monotonic() + _STATUS_S
                try:
                    self._report(problems)
                except Exception as error:  # a stranger's part; the outputs must hear of faults
                    self._warn_once(f"the state cannot be shown: {type(error).__name__}: {error}")

    def _warn_once(self, text: str) -> None:
        if text != self._warned:
            self._warned = text
            notices.warn(text)

    def _report(self, problems: Sequence[str]) -> None:
        """Print faults of single parts that last for two looks, and those that are over."""
        counts = {"good": 0, "anomaly": 0, "failure": 0}
        found: dict[tuple[str, str], str] = {}
        for station in self._stations:
            status = station.status()
            for state, count in status.verdicts.items():
                counts[state] += count
            for part in status.parts:
                # The station reports what keeps it from judging, and the recipes their own.
                is_told = part.fault == status.fault or part.name == "recipe"
                if part.fault is not None and not is_told:
                    found[status.name, part.name] = part.fault
        for place in found.keys() & self._seen - self._faults:
            self._faults.add(place)
            station_name, part_name = place
            notices.warn(
                f"{station_name}: {part_name}: {found[place].removeprefix(part_name + ': ')}"
            )
        for place in self._faults - found.keys():
            self._faults.remove(place)
            notices.say(f"{place[0]}: {place[1]}: works again")
        self._seen = set(found)
        said = ", ".join(f"{count} {state}" for state, count in counts.items())
        self._notifier.status("; ".join([said, *problems]))
