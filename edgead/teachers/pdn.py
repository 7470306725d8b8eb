"""Loading patch-description teachers from our files and from the public ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from edgead.artifact.manifest import TeacherSpec
from edgead.errors import EdgeadError, UsageError
from edgead.models._pdn import PDN
from edgead.teachers._weights import RANDOM, described, read_tensors, weights_digest

SHIPPED = {"n": "efficientad_n.safetensors"}
"""Teachers inside this package, by size."""


def load_pdn_teacher(network: PDN, size: str, source: str | None) -> TeacherSpec:
    """Load weights into a teacher.

    Args:
        network: The teacher to fill.
        size: ``"n"``, ``"s"`` or ``"m"``.
        source: A file (``.safetensors`` of ``edgead distill-teacher``, or a ``.pth``/``.pt`` state
            dict with the keys of nelson1425/EfficientAD or of anomalib), or ``None`` for the
            teacher in this package.

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
                    "nobody publishes weights for the survey's network: make them with 'edgead "
                    "distill-teacher --model efficientad-survey' and give them with --teacher "
                    f"FILE, or write --teacher {RANDOM} for untrained ones"
                )
            raise UsageError(
                f"no teacher for efficientad-{size} comes with this package: give one with "
                "--teacher FILE (a published PDN teacher, for example nelson1425/EfficientAD's "
                f"teacher_{'small' if size == 's' else 'medium'}.pth), or make one with "
                f"'edgead distill-teacher --model efficientad-{size}', or use efficientad-n"
            )
        path = Path(__file__).with_name(SHIPPED[size])
    else:
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"the teacher file {path} does not exist")
    if path.suffix == ".onnx":
        raise EdgeadError(
            f"the teacher file {path} is an ONNX model, and a teacher is a .safetensors or .pth "
            f"file: distil one from it with: edgead distill-teacher --from {path} --images DIR "
            "--out teacher.safetensors"
        )
    state, metadata = read_tensors(path, "teacher file")
    network.load_state_dict(_matched(state, network, path, size))
    return described(path, metadata)


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
