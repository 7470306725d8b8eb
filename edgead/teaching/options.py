"""How a detector is taught."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from edgead.artifact import ViewSpec
from edgead.backbones.known import BACKBONES, LITE0
from edgead.errors import UsageError
from edgead.teaching import DETECTORS, padim, patchcore


@dataclass(frozen=True)
class TeachOptions:
    """How a detector is taught.

    Attributes:
        int8: Write an INT8 file in place of an FP32 one.
        detector: Name of the detector.
        image_size: ``(height, width)`` of the network's input, multiples of 32.
        stages: Numbers of the backbone's stages whose features are compared, 2 to 6 (of a ResNet 1
            to 3); ``None`` for 4 and 5 (2 and 3), of ``padim`` the last of these, or for what
            labelled defects choose.
        backbone: Name in :data:`edgead.backbones.known.BACKBONES`.
        backbone_weights: File with the weights of a ResNet; ``None`` for the backbone whose weights
            are installed.
        coreset: Largest number of vectors that ``patchcore`` remembers.
        false_positive_rate: Target rate of false alarms.
        max_drop: Largest loss of accuracy that INT8 may cost, in points of a hundred.
        good: Names of folders of a data set, besides ``good``, with photos of good parts.
        view: What of a photo is judged (:meth:`edgead.view.ViewRequest.resolve`); ``None`` for all
            of it, in one window.
    """

    int8: bool = False
    detector: str = patchcore.NAME
    image_size: tuple[int, int] = (256, 256)
    stages: tuple[int, ...] | None = None
    backbone: str = LITE0.name
    backbone_weights: str | os.PathLike[str] | None = None
    coreset: int = 500
    false_positive_rate: float = 0.01
    max_drop: float = 0.5
    good: Sequence[str] = ()
    view: ViewSpec | None = None

    @property
    def chosen_stages(self) -> tuple[int, ...]:
        """The stages, or those of the detector."""
        if self.stages is not None:
            return self.stages
        usual = BACKBONES[self.backbone].compared
        return usual[-1:] if self.detector == padim.NAME else usual

    def check(self) -> None:
        """Refuse values that no detector can have.

        Raises:
            UsageError: Names the first.
        """
        if self.detector not in DETECTORS:
            raise UsageError(
                f"unknown detector '{self.detector}' to teach; choose one of: "
                f"{', '.join(DETECTORS)}"
            )
        if self.backbone not in BACKBONES:
            raise UsageError(
                f"unknown backbone '{self.backbone}'; choose one of: {', '.join(BACKBONES)}"
            )
        backbone = BACKBONES[self.backbone]
        least, most = backbone.first, backbone.last
        stages = self.chosen_stages
        usual = ",".join(map(str, backbone.compared))
        if not stages or not all(least <= stage <= most for stage in stages):
            raise UsageError(
                f"the stages of {backbone.name} must be numbers from {least} to {most}, for "
                f"example {usual}"
            )
        if list(stages) != sorted(set(stages)):
            raise UsageError(
                f"the stages must be in ascending order, each once, for example {usual}"
            )
        if not 1 <= self.coreset <= patchcore.MOST_VECTORS:
            raise UsageError(
                f"the coreset must have 1 to {patchcore.MOST_VECTORS} vectors, not {self.coreset}"
            )
        if self.detector != patchcore.NAME and self.coreset != TeachOptions.coreset:
            raise UsageError(
                f"{self.detector} remembers no patches, so a coreset of {self.coreset} does not "
                "apply: leave it out, or choose patchcore"
            )
        wide = sum(backbone.channels[stage] for stage in stages)
        if self.detector == padim.NAME and wide > padim.MOST_CHANNELS:
            raise UsageError(
                f"padim takes at most {padim.MOST_CHANNELS} channels, and the stages "
                f"{','.join(map(str, stages))} of {backbone.name} have {wide}: choose others"
            )
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                "the target rate of false alarms must be above 0 and below 1, not "
                f"{self.false_positive_rate}"
            )
