"""What to distil."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgead.distillation.changes import Changes

RESNET = "resnet18"
"""The size that stands for a ResNet-18; the others are patch-description networks."""


@dataclass(frozen=True)
class DistillConfig:
    """What to distil.

    Attributes:
        source: File of the source network, as
            :func:`~edgead.distillation.sources.open_source` takes it.
        images: Folder of photos of anything.
        size: ``"n"``, ``"s"``, ``"m"``, ``"survey"``, or ``"resnet18"``.
        steps: Iterations.
        batch_size: Views an iteration.
        window: Side in pixels of the square that an iteration takes from a view, for the networks
            that are local (``"n"``, ``"s"``, ``"m"``); the others take whole views.
        views: Crops of each photo: the centre, then random ones, flipped and changed at times.
        learning_rate: At its highest.
        seed: Seed of all random numbers.
        name: What the teacher is called in manifests.
        licence: What a user of the teacher must know.
        changes: Changes of the random crops.
    """

    source: Path
    images: Path
    size: str
    steps: int = 9_000
    batch_size: int = 20
    window: int = 160
    views: int = 2
    learning_rate: float = 2e-3
    seed: int = 0
    name: str = ""
    licence: str = "not stated by the person who distilled it"
    changes: Changes = field(default_factory=Changes)
