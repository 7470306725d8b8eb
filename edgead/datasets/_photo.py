"""One labelled photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GOOD = "good"


@dataclass(frozen=True)
class Photo:
    """A labelled test photo.

    Attributes:
        path: The image file.
        kind: ``"good"`` for each good part, whatever its folder is called, or the kind of defect,
            as its folder is called.
        masks: The images that mark the defect, together; empty where there is none.
    """

    path: Path
    kind: str
    masks: tuple[Path, ...] = ()

    @property
    def is_anomalous(self) -> bool:
        """Whether the part on it is defective."""
        return self.kind != GOOD
