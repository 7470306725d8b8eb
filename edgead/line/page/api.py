"""What the page asks: JSON, pictures, metrics, health; and the few things that it may change.

docs/reference/line-outputs.md has the addresses and their JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgead.errors import EdgeadError, UsageError
from edgead.line.control import Controlled
from edgead.line.page import metrics
from edgead.line.page.pictures import Pictures
from edgead.line.page.preview import preview
from edgead.line.verdict import SCHEMA, Judged

_MOST_BODY_BYTES = 4096
_STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Api:
    """The answers, from what the stations show of themselves."""

    def __init__(self, stations: Sequence[Controlled], can_change: bool) -> None:
        self._stations = {station.name: station for station in stations}
        self._can_change = can_change
        self._pictures = Pictures()
        folder = resources.files("edgead.line.page") / "static"
        self._static = {
            path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _STATIC.items()
        }

    def app(self) -> Starlette:
        """Return the ASGI application."""
        station = "/api/stations/{station}"
        reading = [
            *((path, self.static) for path in self._static),
            ("/health", self.health),
            ("/metrics", self.metrics),
            ("/api/stations", self.stations),
            (station, self.station),
            (f"{station}/picture.jpg", self.picture),
            (f"{station}/history", self.history),
            (f"{station}/preview", self.preview),
            (f"{station}/defects", self.defects),
            (f"{station}/defects/{{number:int}}.jpg", self.defect),
        ]
        changing = [
            (f"{station}/threshold", self.set_threshold),
            (f"{station}/recipe", self.switch),
            (f"{station}/trigger", self.trigger),
        ]
        return Starlette(
            routes=[
                *(Route(path, action) for path, action in reading),
                *(Route(path, action, methods=["POST"]) for path, action in changing),
            ],
            exception_handlers={HTTPException: _refused, Exception: _broken},
        )

    async def static(self, request: Request) -> Response:
        """Return a file of the page."""
        data, kind = self._static[request.url.path]
        return Response(data, media_type=kind)

    async def health(self, request: Request) -> Response:
        """Return 200, or 503 with all that is wrong."""
        faults = {name: list(one.status().faults) for name, one in self._stations.items()}
        is_well = not any(faults.values())
        values = {"schema": SCHEMA, "status": "ok" if is_well else "failing", "faults": faults}
        return _json(values, 200 if is_well else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        text = metrics.text([station.status() for station in self._stations.values()])
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def stations(self, request: Request) -> Response:
        """Return the names of the stations."""
        names = list(self._stations)
        return _json({"schema": SCHEMA, "stations": names, "can_change": self._can_change})

    async def station(self, request: Request) -> Response:
        """Return status and newest verdict of one station."""
        station = self._station(request)
        status = station.status()
        newest = station.newest()
        values = {
            "schema": SCHEMA,
            **status.to_json(),
            "faults": list(status.faults),
            "can_trigger": _can_trigger(station),
            "newest": None if newest is None else _with_picture(newest),
        }
        return _json(values)

    async def picture(self, request: Request) -> Response:
        """Return the newest frame as JPEG, with the heat map unless ``heat=0``."""
        newest = self._station(request).newest()
        if newest is None or newest.picture is None:
            raise HTTPException(404, "there is no picture")
        heat = request.query_params.get("heat") != "0"
        number, data = self._pictures.live(newest, heat)
        return Response(data, media_type="image/jpeg", headers={"X-Verdict": str(number)})

    async def history(self, request: Request) -> Response:
        """Return the verdicts after ``after``, as columns."""
        after = _number(request.query_params.get("after", "0"))
        found = [one for one in self._station(request).history() if one.number > after]
        columns = {
            "numbers": [one.number for one in found],
            "at": [round(one.at, 3) for one in found],
            "states": [one.state for one in found],
            "scores": [one.score for one in found],
        }
        return _json({"schema": SCHEMA, **columns})

    async def preview(self, request: Request) -> Response:
        """Return how many verdicts of the history another threshold would change."""
        threshold = _number(request.query_params.get("threshold", ""))
        found = preview(self._station(request).history(), threshold)
        return _json({"schema": SCHEMA, "threshold": threshold, **dataclasses.asdict(found)})

    async def defects(self, request: Request) -> Response:
        """Return the last rejected frames, newest first."""
        found = [_with_picture(one) for one in self._station(request).defects()]
        return _json({"schema": SCHEMA, "defects": found})

    async def defect(self, request: Request) -> Response:
        """Return one rejected frame as a small JPEG."""
        for one in self._station(request).defects():
            if one.verdict.number == request.path_params["number"] and one.picture is not None:
                return Response(self._pictures.small(one), media_type="image/jpeg")
        raise HTTPException(404, "there is no picture")

    async def set_threshold(self, request: Request) -> Response:
        """Judge with another threshold."""
        station = self._station(request)
        value = await _value(request, "value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise HTTPException(400, "'value' must be a number")
        number = _number(str(value))
        _changed(lambda: station.set_threshold(number))
        return await self.station(request)

    async def switch(self, request: Request) -> Response:
        """Begin to change to another artifact."""
        station = self._station(request)
        name = await _value(request, "name")
        if not isinstance(name, str):
            raise HTTPException(400, "'name' must be a text")
        _changed(lambda: station.switch(name))
        return await self.station(request)

    async def trigger(self, request: Request) -> Response:
        """Judge one part, where the station's trigger is ``http``."""
        station = self._station(request)
        if not _can_trigger(station):
            raise HTTPException(409, "the trigger of this station is not http")
        if not station.fire():
            raise HTTPException(503, "too many triggers wait: this one is counted as missed")
        return _json({"schema": SCHEMA, "fired": True}, 202)

    def _station(self, request: Request) -> Controlled:
        station = self._stations.get(request.path_params["station"])
        if station is None:
            raise HTTPException(404, "there is no such station")
        return station


def _can_trigger(station: Controlled) -> bool:
    return any(part.name == "trigger" and part.kind == "http" for part in station.status().parts)


def _with_picture(judged: Judged) -> dict[str, Any]:
    return {**judged.verdict.to_json(), "has_picture": judged.picture is not None}


def _changed(action: Any) -> None:
    try:
        action()
    except UsageError as error:
        raise HTTPException(400, str(error)) from error
    except EdgeadError as error:
        raise HTTPException(409, str(error)) from error


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HTTPException(400, "a finite number is needed")
    return value


async def _value(request: Request, key: str) -> Any:
    """Return a value of the JSON object in the body, which is short."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY_BYTES:
            raise HTTPException(413, f"a request has at most {_MOST_BODY_BYTES} bytes")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or key not in values:
        raise HTTPException(400, f"the body must be a JSON object with {key!r}")
    return values[key]


def _json(values: dict[str, Any], code: int = 200) -> Response:
    try:
        text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a camera may report anything of itself
        text = json.dumps(_finite(values), allow_nan=False, separators=(",", ":"))
    return Response(text, code, media_type="application/json")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail}, error.status_code)


async def _broken(request: Request, error: Exception) -> Response:
    return _json({"error": f"{type(error).__name__}: {error}"}, 500)
