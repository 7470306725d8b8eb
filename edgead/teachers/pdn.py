"""Loading patch-description teachers from our files and from the public ones."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from edgead import notices
from edgead.artifact.specs import TeacherSpec
from edgead.errors import EdgeadError, UsageError
from edgead.networks.pdn import PDN
from edgead.teachers._download import Published, fetch
from edgead.teachers._weights import RANDOM, described, parsed, read_file, weights_digest

SHIPPED = {"n": "efficientad_n.safetensors", "s": "efficientad_s.safetensors"}
"""Teachers inside this package, by size."""


_WHAT = "teacher file"

ANOMALIB = "anomalib"
"""In place of a file: the teacher that anomalib publishes, downloaded once."""

ANOMALIB_HOST = (
    "https://github.com/open-edge-platform/anomalib/releases/download/"
    "efficientad_pretrained_weights/"
)
ANOMALIB_ARCHIVE = Published(
    "efficientad_pretrained_weights.zip",
    "c09aeaa2b33f244b3261a5efdaeae8f8284a949470a4c5a526c61275fe62684a",
    39_960_466,
)
_ANOMALIB_NAMES = {"s": "pretrained_teacher_small.pth", "m": "pretrained_teacher_medium.pth"}
_ANOMALIB_LICENCE = (
    "published with anomalib (Apache-2.0), which states no licence for the weights; distilled on "
    "ImageNet, whose photos are for research only"
)


def load_pdn_teacher(network: PDN, size: str, source: str | None) -> TeacherSpec:
    """Load weights into a teacher.

    Args:
        network: The teacher to fill.
        size: ``"n"``, ``"s"``, ``"m"`` or ``"survey"``.
        source: A file (``.safetensors`` of ``edgead distill-teacher``, or a ``.pth``/``.pt`` state
            dict with the keys of nelson1425/EfficientAD or of anomalib), :data:`ANOMALIB`,
            ``None`` for the teacher in this package, or ``"random"`` for the survey's network.

    Returns:
        What the teacher is and under which licence.

    Raises:
        UsageError: No teacher of that size is shipped, or the file does not exist.
        EdgeadError: The file is damaged, unsafe to load, or of another architecture.
    """
    if source == RANDOM and size == "survey":
        return TeacherSpec(
            name="the survey's network with random weights",
            source="random weights, not pretrained: tuned on the good photos only",
            licence="none needed",
            sha256=weights_digest(network),
        )
    if source is None:
        if size not in SHIPPED:
            if size == "survey":
                raise UsageError(
                    "there are no published weights for the survey's network: make them with "
                    "'edgead distill-teacher --model efficientad-survey' and add --teacher FILE, "
                    f"or use --teacher {RANDOM} for untrained ones"
                )
            raise UsageError(
                f"no teacher for efficientad-{size} comes with this package: give one with "
                "--teacher FILE (a published PDN teacher, for example nelson1425/EfficientAD's "
                f"teacher_medium.pth), download one with --teacher {ANOMALIB}, make one with "
                f"'edgead distill-teacher --model efficientad-{size}', or use efficientad-s or -n, "
                "whose teachers do"
            )
        path = Path(__file__).with_name(SHIPPED[size])
    elif source == ANOMALIB:
        path, data = _anomalibs(size)
    else:
        path = Path(source)
        if not path.is_file():
            ways = [f"'{RANDOM}'"] if size == "survey" else []
            ways += [f"'{ANOMALIB}'"] if size in _ANOMALIB_NAMES else []
            ways += ["leave --teacher out"] if size in SHIPPED else []
            raise UsageError(
                f"the teacher file {path} does not exist: give the file of a teacher, or "
                f"{' or '.join(ways)}"
            )
    if path.suffix.lower() == ".onnx":
        raise EdgeadError(
            f"the teacher file {path} is an ONNX model, and a teacher is a .safetensors or .pth "
            f"file: distil one from it with: edgead distill-teacher --from {path} --images DIR "
            "--out teacher.safetensors"
        )
    if source != ANOMALIB:
        data = read_file(path, _WHAT)
    weights = parsed(data, path, _WHAT)
    network.load_state_dict(_matched(weights.tensors, network, path, size))
    found = described(weights)
    if source != ANOMALIB:
        return found
    notices.note(f"teacher {path.name}: {_ANOMALIB_LICENCE}")
    where = f"anomalib's release, {ANOMALIB_ARCHIVE.file}"
    return dataclasses.replace(found, source=where, licence=_ANOMALIB_LICENCE)


def _anomalibs(size: str) -> tuple[Path, bytes]:
    """Return anomalib's teacher of a size, out of its archive in the cache folder.

    It is taken out each time: only the archive has a published hash.
    """
    if size not in _ANOMALIB_NAMES:
        raise UsageError(
            f"anomalib publishes no teacher for efficientad-{size}, only for efficientad-s and "
            "efficientad-m: "
            + ("leave --teacher out, or " if size in SHIPPED else "")
            + "give a file"
        )
    archive, data = fetch(ANOMALIB_HOST, ANOMALIB_ARCHIVE, "anomalib's teachers", "--teacher FILE")
    name = _ANOMALIB_NAMES[size]
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        inside = next(entry for entry in opened.namelist() if entry.endswith(name))
        return archive.with_name(name), opened.read(inside)


def _matched(state: dict[str, Tensor], network: PDN, path: Path, size: str) -> dict[str, Tensor]:
    """Rename foreign keys by order: a PDN is a chain, and every layout lists it first to last."""
    found = sorted(state, key=_natural)
    expected = network.state_dict()
    names = sorted(expected, key=_natural)
    shapes = [tuple(state[key].shape) for key in found]
    wanted = [tuple(expected[name].shape) for name in names]
    if shapes != wanted:
        convolutions = [shape for shape in shapes if len(shape) == 4]
        raise EdgeadError(
            f"the teacher file {path} does not fit efficientad-{size}: its convolutions are "
            f"{_described(convolutions)}, but the teacher's are "
            f"{_described([shape for shape in wanted if len(shape) == 4])}"
        )
    return {name: state[key].float() for name, key in zip(names, found, strict=True)}


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _described(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "none"
