"""What the values of a manifest must keep to, besides their types.

A manifest may be damaged, or written by somebody who means harm: its names become parts of file
names and of commands to copy, its sizes become allocations, and every score rests on its ``resize``
and ``score``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from edgead import resizing
from edgead.artifact.specs import SCORE, EngineSpec, InputSpec, MapSpec, ViewSpec
from edgead.contrast import GRID
from edgead.printable import printable
from edgead.strict_json import Source
from edgead.view import masks
from edgead.view.view import MOST_WINDOWS, View, is_inside

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
"""What becomes part of a file's name: no separator, nothing that begins like an option."""

MOST_TEXT = 4096
"""Characters of one text; a mask may have more."""

LARGEST_SIDE = 8192
"""Pixels of one side of the network's input."""

KNOWN = {
    "input.dtype": ("uint8",),
    "input.layout": ("NHWC",),
    "input.color": ("BGR",),
    "input.resize": resizing.METHODS,
    "score": (SCORE,),
}
"""Values that this version can carry out. Add the name of a new one here, with its code."""

_DIGEST = re.compile("[0-9a-f]{64}")
_PATTERNS = {
    "model.name": NAME,
    "precision": NAME,
    "source_sha256": _DIGEST,
    "engine.precision": NAME,
    "engine.onnx_sha256": _DIGEST,
    "engine.sha256": _DIGEST,
}

_LARGEST_NUMBER = 3.4028234e38  # of 32 bits, as scores are
_COUNT = (0, 2**53)
_SHARE = (0, 1)
_NOT_NEGATIVE = (0, _LARGEST_NUMBER)
_PIXELS = (1, 2**20)
_SIDE = (1, LARGEST_SIDE)
_RANGES: dict[str, tuple[float, float]] = {
    "model.parameters": _COUNT,
    "model.gmac": (0, 1e6),
    "input.height": _SIDE,
    "input.width": _SIDE,
    "map.height": _SIDE,
    "map.width": _SIDE,
    "threshold.false_positive_rate": _SHARE,
    "threshold.false_positive_interval": _SHARE,
    "threshold.images": _COUNT,
    "score_statistics.images": _COUNT,
    "score_statistics.std": _NOT_NEGATIVE,
    "training.images": _COUNT,
    "training.held_out": _COUNT,
    "training.steps": _COUNT,
    "training.photo_sizes.lowest": _PIXELS,
    "training.photo_sizes.highest": _PIXELS,
    "training.photo_sizes.narrowest": _PIXELS,
    "training.photo_sizes.widest": _PIXELS,
    "training.least_contrast": (0, 255),
    "training.contrast_left_out": _COUNT,
    "parity.images": _COUNT,
    "parity.max_score_diff": _NOT_NEGATIVE,
    "parity.max_score_diff_relative": _NOT_NEGATIVE,
    "parity.mean_score_diff_relative": _NOT_NEGATIVE,
    "parity.max_map_diff": _NOT_NEGATIVE,
    "parity.label_flips": _COUNT,
    "parity.rank_correlation": (-1.0001, 1.0001),
    "quantization.images": _COUNT,
    "quantization.largest_weight": (1, 128),
    "engine.batch": (1, 2**16),
    "engine.multiprocessors": _COUNT,
    "engine.build_seconds": _NOT_NEGATIVE,
    "compression.gmac_before": (0, 1e6),
    "compression.parameters_before": _COUNT,
    "compression.images": _COUNT,
    "view.aspect": (1e-4, 1e4),
    "view.crop": _SHARE,
    "view.rows": (1, MOST_WINDOWS),
    "view.columns": (1, MOST_WINDOWS),
    "view.overlap": (0, LARGEST_SIDE),
}
_OPTIONS_OF_COMMANDS = {"workspace_mib": (1, 2**30), "dla_core": (0, 64)}


def check(manifest: Any, source: Source) -> None:
    """Check the values of a manifest.

    Args:
        manifest: A ``Manifest`` whose fields have the types that are declared.
        source: Where it came from.

    Raises:
        EdgeadError: A value is out of its bounds; names the key and both sides.
    """
    for key, value in _leaves(dataclasses.asdict(manifest), ""):
        _check_leaf(key, value, source)
    _check_map(manifest.map, manifest.input, source)
    cells = manifest.training.least_contrast
    if cells is not None and len(cells) != GRID**2:
        source.fail(f"has training.least_contrast of {len(cells)} cells, but it must be {GRID**2}")
    if manifest.view is not None:
        check_view(manifest.view, manifest.input.size, source)
    if manifest.engine is not None:
        _check_engine(manifest.engine, source)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield all values that hold no others, each with its key; entries of a list have the list's.

    Keys are values, too: those of options come from the file.
    """
    if isinstance(value, dict):
        for name, entry in value.items():
            yield key, name
            yield from _leaves(entry, f"{key}.{name}" if key else name)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _leaves(entry, key)
    else:
        yield key, value


def _check_leaf(key: str, value: Any, source: Source) -> None:
    if isinstance(value, str):
        limit = masks.MOST_TEXT if key == "view.mask" else MOST_TEXT
        if len(value) > limit:
            source.fail(f"has {len(value):,} characters in '{key}' (limit: {limit:,})")
        if key in KNOWN and value not in KNOWN[key]:
            known = " or ".join(map(repr, KNOWN[key]))
            source.fail(
                f"has {key} = {value[:100]!r}, but this version of edgead supports only {known}"
            )
        if key in _PATTERNS and not _PATTERNS[key].fullmatch(value):
            source.fail(
                f"has {key} = {value[:100]!r}, which does not match {_PATTERNS[key].pattern}"
            )
    elif isinstance(value, float) and not abs(value) <= _LARGEST_NUMBER:
        source.fail(f"has {key} = {value}, but it must be at most {_LARGEST_NUMBER:g}")
    if key in _RANGES and isinstance(value, (int, float)):
        low, high = _RANGES[key]
        if not low <= value <= high:
            source.fail(f"has {key} = {value}, but it must be from {low:g} to {high:g}")


def _check_map(cells: MapSpec, size: InputSpec, source: Source) -> None:
    for side, count, pixels, start, end in (
        ("height", cells.height, size.height, cells.top, cells.bottom),
        ("width", cells.width, size.width, cells.left, cells.right),
    ):
        if count > pixels:
            source.fail(f"has map.{side} = {count}, more than input.{side} = {pixels}")
        if not (-pixels <= start <= end - 1 and end <= 2 * pixels):
            source.fail(
                f"has a map whose {side} covers the pixels from {start:g} to {end:g} of {pixels}, "
                "which is impossible"
            )


def check_view(spec: ViewSpec, size: tuple[int, int], source: Source) -> None:
    """Check a view, whose fields have the types that are declared.

    Args:
        spec: The view.
        size: ``(height, width)`` of the network's input.
        source: Where it came from.

    Raises:
        EdgeadError: It cannot be.
    """
    for key, value in _leaves(dataclasses.asdict(spec), "view"):
        _check_leaf(key, value, source)
    height, width = size
    if spec.rows * spec.columns > MOST_WINDOWS:
        source.fail(
            f"has a view of {spec.rows}x{spec.columns} windows, but at most {MOST_WINDOWS} are "
            "allowed"
        )
    if spec.overlap > min(size) // 2:
        source.fail(
            f"has view.overlap = {spec.overlap}, more than half of the input's {width}x{height} px"
        )
    if spec.crop is not None and not is_inside(spec.crop):
        source.fail(f"has view.crop = {spec.crop}, which is not inside the frame")
    try:
        is_empty = not View(size, spec=spec).places
    except ValueError as error:
        source.fail(f"has a view.mask that {error}")
    if is_empty:
        source.fail("has a view.mask that leaves nothing to judge")


def _check_engine(spec: EngineSpec, source: Source) -> None:
    smallest, tuned, largest = spec.batch
    if not smallest <= tuned <= largest:
        source.fail(f"has no valid 'engine.batch': {spec.batch}")
    if "/" in spec.onnx or spec.onnx in ("", ".", "..") or printable(spec.onnx) != spec.onnx:
        source.fail(f"has engine.onnx = {spec.onnx[:100]!r}, which is not a file name")
    for option, (low, high) in _OPTIONS_OF_COMMANDS.items():
        value = spec.options.get(option)
        if value is not None and not (type(value) is int and low <= value <= high):
            source.fail(
                f"has engine.options.{option} = {str(value)[:100]!r}, but it must be a whole "
                f"number from {low} to {high}"
            )
    calibrator = spec.options.get("calibrator")
    if calibrator is not None and not NAME.fullmatch(str(calibrator)):
        source.fail(
            f"has engine.options.calibrator = {str(calibrator)[:100]!r}, which is not a name"
        )
