"""``edgead run``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead import files, notices
from edgead.cli import _options
from edgead.errors import UsageError
from edgead.printable import printable

if TYPE_CHECKING:
    from edgead.line.config import LineConfig
    from edgead.line.station import Station

_OF_ONE_STATION = ("source", "trigger", "rate", "threshold", "output", "runtime", "threads")


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="inspect on a line: from a camera to verdicts on GPIO, MQTT, Modbus and a page",
        description="Judge the frames of a camera, folder or video with an exported detector, and "
        "hand the verdicts to outputs. Whatever fails, the outputs reject. Ctrl-C ends it.",
    )
    parser.add_argument(
        "line", metavar="ARTIFACT|LINE.toml", help="exported file, or configuration of a line"
    )
    one = parser.add_argument_group(
        "station", "Keys of the configuration; for a file with one station, in place of its own."
    )
    one.add_argument(
        "--source",
        metavar="SOURCE",
        help="0 or /dev/video0, rtsp://..., a folder, a video file, picamera2[:N], aravis[:NAME], "
        "or KIND:key=value,...",
    )
    one.add_argument(
        "--trigger", metavar="KIND[:key=value,...]", help="judge one frame for each trigger"
    )
    one.add_argument(
        "--rate", type=float, metavar="HZ", help="judge at most so many frames a second"
    )
    one.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="threshold to use instead of the detector's own",
    )
    one.add_argument(
        "--output",
        action="append",
        metavar="KIND[:key=value,...]",
        help="where verdicts go; may be given several times (default: printed)",
    )
    one.add_argument("--runtime", help="runtime to use (default: chosen automatically)")
    one.add_argument(
        "--threads", type=_options.positive_int, metavar="N", help="threads of one inference"
    )
    parser.add_argument(
        "--serve",
        nargs="?",
        const="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="show a page (default: 127.0.0.1:8080, for this machine alone)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_options.named_value,
        metavar="KEY=VALUE",
        help="set any key, such as late_ms=200, source.exposure=120, output.1.host=broker, or "
        "left.rate=5 for the station 'left'; may be given several times",
    )
    parser.add_argument(
        "--frames",
        type=_options.positive_int,
        metavar="N",
        help="stop when every station has given N verdicts",
    )
    parser.add_argument(
        "--accept-camera",
        action="store_true",
        help="accept the camera's settings as they are now, though they differ from the last start",
    )
    parser.add_argument(
        "--write-config",
        metavar="FILE",
        help="write all keys in use, defaults included, and stop; - prints them",
    )
    parser.add_argument(
        "--install-service",
        action="store_true",
        help="write a systemd unit that runs this line at every start of the machine, and stop",
    )
    parser.add_argument(
        "--unit",
        metavar="FILE",
        help="with --install-service: where (default: /etc/systemd/system/edgead-NAME.service)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run a line until its end, or until it is stopped."""
    config = configuration(args)
    if args.write_config:
        _write(config, args.write_config)
        return 0
    if args.install_service:
        return _install(args, config)
    if args.unit:
        raise UsageError("--unit is for --install-service: add it, or leave out --unit")
    from edgead.line.line import Line, running
    from edgead.line.state import StateFile

    state = StateFile(config.state)
    if args.accept_camera:
        for one in config.stations:
            state.change(one.name, settings={})
    line = Line(config, limit=args.frames, state=state)
    with running(line):
        try:
            line.wait()
        finally:
            line.stop()
            are_well = [_summarise(station) for station in line.stations]
    return 0 if all(are_well) else 1


def configuration(args: argparse.Namespace) -> LineConfig:
    """Return the configuration that the options and the file make together.

    Raises:
        UsageError: Something in either is wrong.
    """
    from edgead.line import config
    from edgead.line.options import Place, Text

    path = Path(args.line)
    if path.suffix.lower() == ".toml":
        table, place = config.table_of(path), config.place_of(path)
    else:
        station: dict[str, Any] = {"artifact": str(path.absolute())}
        table, place = {"station": [station]}, Place(Path.cwd(), "the command line")
    given = {name: getattr(args, name) for name in _OF_ONE_STATION}
    changed = {name: value for name, value in given.items() if value is not None}
    stations = table.get("station")
    if changed and isinstance(stations, list) and stations:
        if len(stations) > 1:
            name = next(iter(changed))
            raise UsageError(
                f"{path} has {len(stations)} stations, and --{name} is for one: use --set "
                f"STATION.{name}=..."
            )
        stations[0] = {**stations[0], **_as_tables(changed)}
    if args.serve is not None:
        table["serve"] = {**table.get("serve", {}), "address": Text(args.serve)}
    table = config.with_values(table, args.set)
    for station in table.get("station", []):
        if isinstance(station, dict) and "source" not in station:
            place.fail("the key 'source' is missing: give --source")
        if isinstance(station, dict):
            station.setdefault("output", [{"kind": "print"}])
    return config.LineConfig.from_table(table, place)


def _as_tables(given: dict[str, Any]) -> dict[str, Any]:
    from edgead.line import config

    table = dict(given)
    if "source" in table:
        table["source"] = config.source_of(table["source"])
    if "trigger" in table:
        table["trigger"] = config.part_of(table["trigger"], "--trigger")
    if "output" in table:
        table["output"] = [config.part_of(text, "--output") for text in table["output"]]
    return table


def _write(config: LineConfig, target: str) -> None:
    if target == "-":
        print(config.to_toml(Path.cwd()), end="")
        return
    files.write_text(target, config.to_toml(Path(target).absolute().parent))
    notices.say(f"wrote {target}: edgead run {target}")


def _install(args: argparse.Namespace, config: LineConfig) -> int:
    from edgead.line import service

    path = Path(args.line)
    if path.suffix.lower() != ".toml" or _changes(args):
        raise UsageError(
            "--install-service takes a configuration and no other options: write one first with "
            "--write-config line.toml"
        )
    unit = service.unit(config, path.absolute(), Path(sys.executable))
    target = Path(args.unit) if args.unit else service.path_for(path)
    files.write_text(target, unit)
    print(unit, end="")
    notices.say(f"wrote {target}")
    for command in service.next_steps(target):
        notices.say(f"  {command}")
    return 0


def _changes(args: argparse.Namespace) -> bool:
    names = (*_OF_ONE_STATION, "serve", "frames")
    return bool(args.set) or any(getattr(args, name) is not None for name in names)


def _summarise(station: Station) -> bool:
    """Print counts, losses and latency; return whether every output has its verdicts."""
    status = station.status()
    total = sum(status.verdicts.values())
    counts = ", ".join(f"{count} {state}" for state, count in status.verdicts.items())
    triggers = ""
    if any(part.name == "trigger" for part in status.parts):
        triggers = f"; triggers: {status.late} late, {status.missed} missed"
    print(f"{status.name}: {total} verdicts: {counts} (threshold {status.threshold:.4f}){triggers}")
    is_well = True
    for part in status.parts:
        is_output = part.name.startswith("output")
        if part.errors or part.fault or (part.lost and is_output):
            lost = f", {part.lost} verdicts lost" if is_output else ""
            fault = f": {part.fault.removeprefix(f'{part.name}: ')}" if part.fault else ""
            print(printable(f"  {part.name}: {part.errors} errors{lost}{fault}"))
            is_well = is_well and not (is_output and part.fault)
    latency = status.latency_ms.get("total")
    if latency is not None:
        print(
            f"  from frame to verdict: p50 {latency['50']:.1f} ms, p90 {latency['90']:.1f} ms, "
            f"p99 {latency['99']:.1f} ms (last {min(total, 1000)} frames; {status.runtime})"
        )
    return is_well
