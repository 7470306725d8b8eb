from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgead.artifact import Artifact
from edgead.benchmarks.device import Device
from edgead.benchmarks.protocol import OPTIONS, Protocol
from edgead.benchmarks.request import Request
from edgead.benchmarks.result import to_result
from edgead.cli import bench
from tests.benchmarks.test_golden import healthy
from tests.conftest import manifest_for

ASKED = Protocol(
    seconds=3.0,
    samples=7,
    runtime="onnxruntime",
    threads=2,
    precision="f32",
    hint="throughput",
    batch=1,
    streams=2,
    camera_fps=12.5,
    cooldown=1.5,
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_parser(parser.add_subparsers())
    return parser.parse_args(["bench"])


def test_every_field_of_the_protocol_but_the_warm_up_is_an_option_of_the_command() -> None:
    fields = {field.name for field in dataclasses.fields(Protocol)}
    assert set(OPTIONS) == fields - {"warm_up"}
    none_given = vars(options())
    assert all(none_given[option] is None for option in OPTIONS.values())
    assert Protocol.of_options(none_given) == Protocol()


def test_what_was_asked_is_read_from_options_and_from_a_result() -> None:
    given = {option: getattr(ASKED, name) for name, option in OPTIONS.items()}
    assert Protocol.of_options(given) == ASKED
    assert Protocol.of_config(ASKED.to_config()) == ASKED
    assert all(
        getattr(ASKED, name) != getattr(Protocol(), name) for name in OPTIONS if name != "batch"
    )


def test_a_warm_up_that_a_file_names_is_not_repeated() -> None:
    config = {**ASKED.to_config(), "warm_up_s": 1e9}
    assert Protocol.of_config(config).warm_up == Protocol().warm_up


@pytest.mark.parametrize(
    "more", [{"frame_size": (60, 80)}, {"images": ("photos/a.png",)}, {"governor": "performance"}]
)
def test_a_request_can_be_made_again_from_its_result(more: dict[str, Any], tmp_path: Path) -> None:
    found, system = healthy(tmp_path)
    size = more.get("frame_size", (1080, 1920))
    measured = dataclasses.replace(found, frame_sizes=(size,))
    request = Request(measured.protocol, **more)
    artifact = Artifact(Path("a.onnx"), manifest_for(32, 32, (8, 8)), "0" * 64, 1)
    result = to_result(measured, artifact, None, Device.of(system), request)
    again = Request.of_result(result)
    photos = tuple(str(Path(path).absolute()) for path in request.images or ()) or None
    assert again == dataclasses.replace(request, images=photos)
