"""Finds sources, triggers and outputs by kind: those of edgead, and those of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from edgead import plugins
from edgead.line.errors import ConfigError

SOURCES: Mapping[str, str] = {
    "camera": "edgead.line.sources.camera:Camera",
    "rtsp": "edgead.line.sources.rtsp:Rtsp",
    "video": "edgead.line.sources.video:Video",
    "folder": "edgead.line.sources.folder:Folder",
    "picamera2": "edgead.line.sources.picamera2:Picamera2",
    "aravis": "edgead.line.sources.aravis:Aravis",
}
TRIGGERS: Mapping[str, str] = {
    "gpio": "edgead.line.triggers.gpio:Gpio",
    "mqtt": "edgead.line.triggers.mqtt:Mqtt",
    "http": "edgead.line.triggers.http:Http",
    "modbus": "edgead.line.triggers.modbus:Modbus",
}
OUTPUTS: Mapping[str, str] = {
    "print": "edgead.line.outputs.print_lines:PrintLines",
    "gpio": "edgead.line.outputs.gpio:Gpio",
    "mqtt": "edgead.line.outputs.mqtt:Mqtt",
    "webhook": "edgead.line.outputs.webhook:Webhook",
    "modbus": "edgead.line.outputs.modbus:Modbus",
    "jsonl": "edgead.line.outputs.jsonl:JsonLines",
    "keep": "edgead.line.outputs.keep:Keep",
}

_GROUPS = {"source": SOURCES, "trigger": TRIGGERS, "output": OUTPUTS}


def kinds(role: str) -> tuple[str, ...]:
    """Return the kinds of a role (``source``, ``trigger``, ``output``) that exist here."""
    return tuple(sorted({*_GROUPS[role], *plugins.points(f"edgead.{role}s")}))


def find(role: str, kind: str) -> Any:
    """Return the class of a kind. Nothing is imported but that one.

    Args:
        role: ``source``, ``trigger`` or ``output``.
        kind: Its name in the configuration.

    Raises:
        ConfigError: There is no such kind, or the package that brings it does not work.
    """
    entries = plugins.points(f"edgead.{role}s").get(kind)
    try:
        if kind in _GROUPS[role]:
            return plugins.load(_GROUPS[role][kind])
        if entries:
            return plugins.load(plugins.location(entries))
    except plugins.PluginError as error:
        raise ConfigError(f"the {role} {kind!r} {error}") from error
    known = kinds(role)
    near = difflib.get_close_matches(kind, known, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ConfigError(f"there is no {role} of the kind {kind!r}; {advice}")
