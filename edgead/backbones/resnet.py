"""The architecture of ResNet trunks up to their third stage, as torchvision builds them.

Sources: He et al., "Deep residual learning for image recognition" (CVPR 2016); Zagoruyko and
Komodakis, "Wide residual networks" (BMVC 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("layer1", "layer2", "layer3")
DIVISOR = 32
"""Image sides must be multiples of it, so that every level's cells cover the image alike."""

EPSILON = 1e-5
"""Of the batch normalisations."""

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in RGB from 0 to 1: a photo becomes ``(x / 255 - MEAN) / DEVIATION``."""


@dataclass(frozen=True)
class Architecture:
    """A published ResNet.

    Attributes:
        blocks: Residual blocks of the first three stages.
        bottleneck: Blocks of 1x1, 3x3 and 1x1 convolutions in place of two 3x3.
        width: Inner channels of a bottleneck for each 64 of the stage.
    """

    blocks: tuple[int, int, int]
    bottleneck: bool
    width: int = 64

    @property
    def expansion(self) -> int:
        """A stage's output channels for each of its planes."""
        return 4 if self.bottleneck else 1

    @property
    def channels(self) -> tuple[int, int, int]:
        """Output channels of the three stages."""
        return 64 * self.expansion, 128 * self.expansion, 256 * self.expansion


ARCHITECTURES = {
    "resnet18": Architecture((2, 2, 2), bottleneck=False),
    "wide_resnet50_2": Architecture((3, 4, 6), bottleneck=True, width=128),
    "wide_resnet101_2": Architecture((3, 4, 23), bottleneck=True, width=128),
}
