"""What a training is asked to do, and what it resolves to."""

from __future__ import annotations

import dataclasses
import math
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgead import resizing, strict_json
from edgead.artifact.bounds import LARGEST_SIDE, check_view
from edgead.artifact.specs import ViewSpec
from edgead.errors import UsageError
from edgead.strict_json import Source
from edgead.teachers._weights import RANDOM
from edgead.teachers.pdn import ANOMALIB
from edgead.teachers.removed import DISTILLED

_NAMED = (RANDOM, DISTILLED, ANOMALIB)
"""Words that stand for a teacher, whatever lies in the current folder."""

LARGEST_BATCH = 4096
"""Photos of one iteration; a signal to stop waits for the iteration's end."""

OF_STEPS = ("steps", "batch_size", "learning_rate", "precision")
"""Settings of training by gradient steps; ``None`` for other detectors."""


@dataclass(frozen=True)
class TrainConfig:
    """A training. ``None`` means the model's own default for this machine.

    ``steps``, ``batch_size``, ``learning_rate``, ``penalty_images`` and ``precision`` belong to
    detectors that train by gradient steps; for others they stay ``None``.

    Paths are kept absolute, so that a run can be resumed and exported from any folder.

    Attributes:
        model: A registered name.
        data: Folder of photos, MVTec AD layout or plain.
        image_size: ``(height, width)`` of the network's input in pixels.
        steps: Training steps.
        batch_size: Photos per step (and process).
        learning_rate: Peak learning rate.
        seed: Seed of the split, the order, the initial weights and all random numbers.
        teacher: File of pretrained weights, or ``"random"`` if the detector allows it; ``None``
            for the detector's default.
        penalty_images: Folder of images without any part; ``None`` for generated ones.
        precision: ``"32-true"`` or ``"bf16-mixed"``; ``None`` for bfloat16 where the processor
            has it.
        false_positive_rate: Target rate of the default threshold, above 0 and below 1.
        threshold_data: Folder with labelled test photos to choose the best-F1 threshold on.
        options: The detector's own options, by name.
        good: Names of folders of ``data`` and ``threshold_data``, besides ``good``, with photos of
            good parts.
        view: What of a photo is judged (:meth:`edgead.view.ViewRequest.resolve`); ``None`` for all
            of it, in one window.
        resize: Method of :mod:`edgead.resizing` that brings photos to the network's size.
    """

    model: str
    data: str
    image_size: tuple[int, int] = (256, 256)
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    teacher: str | None = None
    penalty_images: str | None = None
    precision: str | None = None
    false_positive_rate: float = 0.01
    threshold_data: str | None = None
    options: Mapping[str, str | float] = field(default_factory=dict)
    good: tuple[str, ...] = ()
    view: ViewSpec | None = None
    resize: str = resizing.HALVED

    def __post_init__(self) -> None:
        for name in ("data", "teacher", "penalty_images", "threshold_data"):
            path = getattr(self, name)
            if path is None or (name == "teacher" and path in _NAMED):
                continue
            # Not Path.exists: that raises for a name that is longer than a name can be.
            if os.path.exists(path):  # noqa: PTH110
                object.__setattr__(self, name, str(Path(path).absolute()))
        for name in ("steps", "batch_size", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} must be above 0, not {value}")
        if not all(0 < side <= LARGEST_SIDE for side in self.image_size):
            raise UsageError(
                f"the sides of the image size must be from 1 to {LARGEST_SIDE} pixels, not "
                f"{self.image_size[0]}x{self.image_size[1]}"
            )
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                "the false-positive rate must be above 0 and below 1, not "
                f"{self.false_positive_rate}"
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"the seed must be from 0 to 2^63 - 1, not {self.seed}")
        if self.batch_size is not None and self.batch_size > LARGEST_BATCH:
            raise UsageError(f"batches have at most {LARGEST_BATCH} photos, not {self.batch_size}")
        if self.resize not in resizing.METHODS:
            raise UsageError(f"unknown method to resize photos: '{self.resize}'")
        if self.precision not in (None, "32-true", "bf16-mixed"):
            raise UsageError(
                f"the precision must be '32-true' or 'bf16-mixed', not '{self.precision}'"
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **dataclasses.asdict(self),
            "image_size": list(self.image_size),
            "good": list(self.good),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], source: Source) -> TrainConfig:
        """Rebuild from :meth:`to_json`.

        Args:
            data: The content of a JSON file.
            source: The file.

        Raises:
            EdgeadError: A key is missing or unknown, or a value cannot be; names the file.
        """
        # Runs from before there were these.
        data = {"options": {}, "good": [], "view": None, "resize": resizing.AREA, **data}
        hints: dict[str, Any] = typing.get_type_hints(cls)
        if set(data) != set(hints):
            odd = ", ".join(sorted(set(data) ^ set(hints)))
            source.fail(f"was written by another version of edgead (keys that differ: {odd})")
        hints["options"] = dict[str, Any]
        values = {
            name: strict_json.build(kind, data[name], source, f"config.{name}")
            for name, kind in hints.items()
        }
        if any(isinstance(value, str) and "\0" in value for value in values.values()):
            source.fail("has a zero in the name of a file")
        if values["view"] is not None:
            check_view(values["view"], values["image_size"], source)
        for name, value in values["options"].items():
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                source.fail(f"has 'config.options.{name[:40]}' = {str(value)[:40]!r}")
        try:
            return cls(**values)
        except (UsageError, ValueError, OSError) as error:  # of a name that no file can have
            source.fail(f"has an impossible 'config' ({error})")
