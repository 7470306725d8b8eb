"""A systemd unit for a line: systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

import grp
import re
import shlex
from pathlib import Path

from edgead.errors import UsageError
from edgead.line.config import LineConfig

USER = "edgead"
WATCHDOG_S = 30
_STATE = "edgead"
_FOLDER = Path("/etc/systemd/system")
_SAFE = re.compile(r"[A-Za-z0-9_./@:+=,-]+")
_GROUPS = {"camera": "video", "picamera2": "video", "gpio": "gpio"}
"""Groups that may use the devices of a kind of part."""


def path_for(config: Path) -> Path:
    """Return where the unit of a configuration lies."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", config.stem)
    return _FOLDER / (f"edgead-{name}.service" if name != "line" else "edgead.service")


def unit(config: LineConfig, path: Path, python: Path) -> str:
    """Return the text of a unit that runs a line at every start of the machine.

    It runs as a user of its own, which may write to its state in ``/var/lib/edgead`` and to what
    the outputs write to, and is started again whenever it ends or judges nothing in time.

    Args:
        config: The configuration.
        path: Its file, absolute.
        python: The interpreter that has edgead.

    Raises:
        UsageError: A path has characters that a unit cannot have without quotes.
    """
    written = _written(config)
    for one in (path, python, *written):
        if not _SAFE.fullmatch(str(one)):
            raise UsageError(
                f"{str(one)!r} has characters that a systemd unit does not take as they are: use a "
                "folder whose name has letters, digits, - and _ only"
            )
    writable = [f"-{folder}" for folder in written]  # "-": it may not be there yet
    is_in_home = any(part in ("home", "root") for part in (path.parts[1], python.parts[1]))
    groups = _groups(config)
    lines = [
        "[Unit]",
        f"Description=edgead line {path.name}",
        "After=network-online.target time-sync.target",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={python} -m edgead run {path} --set state=%S/{_STATE}/{path.stem}-state.json",
        f"WorkingDirectory={path.parent}",
        f"User={USER}",
        *([f"SupplementaryGroups={' '.join(groups)}"] if groups else []),
        "Environment=PYTHONUNBUFFERED=1",
        "EnvironmentFile=-/etc/edgead/environment",
        "Restart=always",
        "RestartSec=1",
        f"WatchdogSec={WATCHDOG_S}",
        "TimeoutStopSec=15",
        "# Ctrl-C and SIGTERM end edgead with 130 and 143.",
        "SuccessExitStatus=130 143",
        f"StateDirectory={_STATE}",
        "",
        *(["AmbientCapabilities=CAP_NET_BIND_SERVICE"] if _needs_low_port(config) else []),
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if is_in_home else 'yes'}",
        *([f"ReadWritePaths={' '.join(writable)}"] if writable else []),
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictSUIDSGID=yes",
        "RestrictRealtime=yes",
        "RestrictNamespaces=yes",
        "LockPersonality=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native",
        "UMask=0027",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def next_steps(target: Path) -> list[str]:
    """Return the commands that start a unit."""
    name = shlex.quote(target.name)
    return [
        f"id {USER} || sudo useradd --system --no-create-home {USER}",
        "sudo systemctl daemon-reload",
        f"sudo systemctl enable --now {name}",
        f"journalctl -u {name} -f",
    ]


def _written(config: LineConfig) -> list[Path]:
    """Return the folders that outputs write to, and those that a folder's photos move in."""
    found = set()
    for station in config.stations:
        for part in (station.source, *station.outputs):
            options = {} if part is None else vars(part.options)
            names = ["folder", "move_to"]  # folders; files that are only read have other names
            if part is not station.source or options.get("done", "keep") != "keep":
                names.append("path")
            for name in names:
                if isinstance(value := options.get(name), Path):
                    is_file = name == "path" and part is not station.source
                    found.add(value.parent if is_file else value)
            if isinstance(file := options.get("remember"), Path):
                found.add(file.parent)
    return sorted(found)


def _needs_low_port(config: LineConfig) -> bool:
    """Whether the page or a Modbus server listens where only root may."""
    ports = [] if config.serve is None else [int(config.serve.address.rpartition(":")[2])]
    for station in config.stations:
        for part in (station.trigger, *station.outputs):
            if part is not None and part.kind == "modbus":
                ports.append(part.options.port)
    return any(0 < port < 1024 for port in ports)


def _groups(config: LineConfig) -> list[str]:
    """Return the groups of this system that may use the devices of the parts."""
    kinds = set()
    for station in config.stations:
        parts = (station.source, station.trigger, *station.outputs)
        kinds |= {part.kind for part in parts if part is not None}
    there = {group.gr_name for group in grp.getgrall()}
    return sorted({_GROUPS[kind] for kind in kinds if kind in _GROUPS} & there)
