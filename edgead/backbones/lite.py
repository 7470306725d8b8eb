"""The architecture of EfficientNet-Lite0: its blocks, strides and padding.

Source: M. Tan, Q. Le, "EfficientNet" (ICML 2019), in the variant without squeeze-excite and with
ReLU6 that Google published as EfficientNet-Lite. Padding is TensorFlow's ``SAME``: at an even
size a convolution of stride 2 pads more at the bottom and on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

MEAN, DEVIATION = 127.0, 128.0
"""Pixels 0..255 in RGB become ``(x - MEAN) / DEVIATION``."""

EPSILON = 1e-3
"""Of the batch normalisations."""

STEM, HEAD, CLASSES = 32, 1280, 1000
"""Channels of the first and of the last convolution, and outputs of the classifier."""

FACTOR = 32
"""Sides of the input are multiples of this, so that the cells of all stages lie on each other."""


@dataclass(frozen=True)
class Block:
    """An inverted residual block.

    Attributes:
        name: Prefix of its weights.
        kernel: Side of the depthwise convolution.
        stride: Of the depthwise convolution.
        expansion: Factor of the first 1x1 convolution, which is left out where it is 1.
        inputs: Channels of the input.
        outputs: Channels of the output.
        stage: Number of the stage that it belongs to, 0 to 6.
    """

    name: str
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int
    stage: int

    @property
    def is_residual(self) -> bool:
        """Whether its input is added to its output."""
        return self.stride == 1 and self.inputs == self.outputs


_STAGES = (  # repeats, kernel, stride, expansion, outputs
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _blocks() -> tuple[Block, ...]:
    made: list[Block] = []
    inputs = STEM
    for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            name = f"_blocks.{len(made)}"
            made.append(Block(name, kernel, step, expansion, inputs, outputs, stage))
            inputs = outputs
    return tuple(made)


BLOCKS = _blocks()
STAGES = len(_STAGES)


def channels(stage: int) -> int:
    """Return the channels of a stage's output."""
    return _STAGES[stage][-1]


def stride(stage: int) -> int:
    """Return how many pixels of the input lie between two cells of a stage's output."""
    made = 2
    for _, _, step, _, _ in _STAGES[: stage + 1]:
        made *= step
    return made


def same_padding(side: int, kernel: int, step: int) -> tuple[int, int]:
    """Return how many zeros ``SAME`` puts before and behind an axis of ``side`` values."""
    total = max((-(-side // step) - 1) * step + kernel - side, 0)
    return total // 2, total - total // 2
