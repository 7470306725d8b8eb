"""What a training is asked to do, and what it resolves to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgead.errors import TrainingError, UsageError
from edgead.teachers._weights import RANDOM
from edgead.teachers.backbones import DISTILLED
from edgead.teachers.pdn import ANOMALIB

_NAMED = (RANDOM, DISTILLED, ANOMALIB)
"""Words that stand for a teacher, whatever lies in the current folder."""


@dataclass(frozen=True)
class TrainConfig:
    """A training. ``None`` means the model's own default for this machine.

    Paths are kept absolute, so that a run can be resumed and exported from any folder.

    Attributes:
        model: A registered name.
        data: Folder of photos, MVTec AD layout or plain.
        image_size: ``(height, width)`` of the network's input in pixels.
        steps: Iterations.
        batch_size: Photos an iteration (and process).
        learning_rate: At its highest.
        seed: Decides the split, the order, the initial weights and every draw.
        teacher: File of pretrained weights, or ``"random"`` where the detector takes that; ``None``
            for the detector's default.
        penalty_images: Folder of pictures that show no part; ``None`` for generated ones.
        precision: ``"32-true"`` or ``"bf16-mixed"``; ``None`` for bfloat16 where the processor
            has it.
        false_positive_rate: Of the default threshold, above 0 and below 1.
        threshold_data: Folder with labelled test photos to choose the best-F1 threshold on.
        options: The detector's own options, by name.
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

    def __post_init__(self) -> None:
        for name in ("data", "teacher", "penalty_images", "threshold_data"):
            path = getattr(self, name)
            if path is not None and path not in _NAMED and Path(path).exists():
                object.__setattr__(self, name, str(Path(path).absolute()))
        for name in ("steps", "batch_size", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name.replace('_', ' ')} must be above 0, not {value}")
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                "the false-positive rate must be above 0 and below 1, not "
                f"{self.false_positive_rate}"
            )
        if self.seed < 0:
            raise UsageError(f"the seed must be 0 or more, not {self.seed}")
        if self.precision not in (None, "32-true", "bf16-mixed"):
            raise UsageError(
                f"the precision must be '32-true' or 'bf16-mixed', not '{self.precision}'"
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str) -> TrainConfig:
        """Rebuild from :meth:`to_json`.

        Raises:
            TrainingError: A key is missing or unknown; names it and the file.
        """
        data = {"options": {}, **data}  # runs from before there were options
        names = {entry.name for entry in dataclasses.fields(cls)}
        if set(data) != names:
            odd = ", ".join(sorted(set(data) ^ names))
            raise TrainingError(
                f"{where} was written by another version of edgead (keys that differ: {odd}); "
                "train again into a new folder"
            )
        return cls(**{**data, "image_size": tuple(data["image_size"])})
