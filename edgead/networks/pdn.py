"""Patch description networks: EfficientAd's teachers and students (paper, Tables 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec
from edgead.errors import UsageError

TEACHER_CHANNELS = 384
"""Features that a teacher gives for a patch."""


@dataclass(frozen=True)
class ConvSpec:
    """One convolution; ``relu`` follows it, and ``pool`` is a 2x2 average pooling after that.

    ``padding`` is used only when the network is built with padding (teacher distillation).
    """

    kernel: int
    stride: int
    padding: int
    channels: int
    relu: bool = True
    pool: bool = False


_OUT = -1  # stands for the network's own number of output channels

PDN_SPECS: dict[str, tuple[ConvSpec, ...]] = {
    # Paper, Table 5.
    "s": (
        ConvSpec(4, 1, 3, 128, pool=True),
        ConvSpec(4, 1, 3, 256, pool=True),
        ConvSpec(3, 1, 1, 256),
        ConvSpec(4, 1, 0, _OUT, relu=False),
    ),
    # Paper, Table 6.
    "m": (
        ConvSpec(4, 1, 3, 256, pool=True),
        ConvSpec(4, 1, 3, 512, pool=True),
        ConvSpec(1, 1, 0, 512),
        ConvSpec(3, 1, 1, 512),
        ConvSpec(4, 1, 0, _OUT),
        ConvSpec(1, 1, 0, _OUT, relu=False),
    ),
    # Ours, for CPUs: docs/notes/efficientad-n.md has what was tried. Never padded.
    "n": (
        ConvSpec(4, 2, 0, 32),
        ConvSpec(4, 2, 0, 96),
        ConvSpec(4, 2, 0, 160),
        ConvSpec(3, 1, 0, _OUT, relu=False),
    ),
    # The survey's network, not the paper's; always padded.
    "survey": (
        ConvSpec(4, 2, 1, 32),
        ConvSpec(4, 2, 1, 64),
        ConvSpec(4, 2, 1, 128),
        ConvSpec(4, 2, 1, _OUT, relu=False),
    ),
}


class PDN(nn.Module):
    """A patch description network.

    Args:
        size: ``"n"``, ``"s"``, ``"m"`` or ``"survey"``.
        out_channels: Features a patch: 384 for a teacher, 768 for a student.
        padding: Pad as in teacher pretraining. Training and inference of a detector never do
            (paper, Appendix E).
    """

    def __init__(self, size: str, out_channels: int, padding: bool = False) -> None:
        super().__init__()
        self.specs = PDN_SPECS[size]
        layers: list[nn.Module] = []
        channels = 3
        for spec in self.specs:
            width = out_channels if spec.channels == _OUT else spec.channels
            pad = spec.padding if padding else 0
            layers.append(nn.Conv2d(channels, width, spec.kernel, spec.stride, pad))
            if spec.relu:
                layers.append(nn.ReLU())
            if spec.pool:
                layers.append(nn.AvgPool2d(2, 2, padding=1 if padding else 0))
            channels = width
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Describe patches: normalised ``[N, 3, H, W]`` to ``[N, out_channels, h, w]``."""
        features: Tensor = self.layers(images)
        return features

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]


def receptive_field(size: str) -> int:
    """Return the side of the patch, in input pixels, that one feature vector sees."""
    field, jump = 1, 1
    for spec in PDN_SPECS[size]:
        field += (spec.kernel - 1) * jump
        jump *= spec.stride
        if spec.pool:
            field += jump
            jump *= 2
    return field


def map_spec(size: str, image_size: tuple[int, int]) -> MapSpec:
    """Work out the unpadded network's output cells and the input pixels they cover.

    Raises:
        UsageError: The image is smaller than one patch.
    """
    (height, top, bottom), (width, left, right) = (
        _axis(size, pixels, name)
        for pixels, name in zip(image_size, ("height", "width"), strict=True)
    )
    return MapSpec(height, width, top, left, bottom, right)


def _axis(size: str, pixels: int, name: str) -> tuple[int, float, float]:
    cells, start, jump = pixels, 0.5, 1.0  # start: centre of the first cell
    for spec in PDN_SPECS[size]:
        cells = (cells - spec.kernel) // spec.stride + 1
        start += (spec.kernel - 1) / 2 * jump
        jump *= spec.stride
        if spec.pool:
            cells //= 2
            start += jump / 2
            jump *= 2
        if cells < 1:
            raise UsageError(
                f"an image {name} of {pixels} px is too small for efficientad-{size}: its patches "
                f"are {receptive_field(size)} px"
            )
    return cells, start - jump / 2, start + (cells - 0.5) * jump


def fold_output_normalisation(convolution: nn.Conv2d, mean: Tensor, std: Tensor) -> None:
    """Make a convolution give ``(y - mean) / std`` in place of ``y``, exactly."""
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.div_(std.view(-1, 1, 1, 1))
        convolution.bias.sub_(mean.flatten()).div_(std.flatten())


def fold_input_scaling(convolution: nn.Conv2d, mean: Tensor, std: Tensor) -> None:
    """Make a convolution on RGB ``(x/255 - mean) / std`` take BGR values ``x`` of 0..255.

    Exact only without zero padding: padding stands for ``x = 255 * mean`` before and for
    ``x = 0`` after.

    Raises:
        ValueError: The convolution pads its input.
    """
    assert convolution.bias is not None
    if convolution.padding != (0, 0):
        raise ValueError(f"the fold is not exact with padding {convolution.padding}")
    with torch.no_grad():
        scaled = convolution.weight / std.view(1, 3, 1, 1)
        convolution.bias.sub_((scaled * mean.view(1, 3, 1, 1)).sum((1, 2, 3)))
        convolution.weight.copy_((scaled / 255).flip(1))


def split_outputs(convolution: nn.Conv2d, first: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Split a convolution into one for its ``first`` output channels and one for the others."""
    assert convolution.bias is not None
    return (
        _like(convolution, convolution.weight[:first], convolution.bias[:first]),
        _like(convolution, convolution.weight[first:], convolution.bias[first:]),
    )


def subtracted(left: nn.Conv2d, right: nn.Conv2d) -> nn.Conv2d:
    """Return one convolution on ``[left's input, right's input]`` that gives left minus right."""
    assert left.bias is not None
    assert right.bias is not None
    weight = torch.cat([left.weight, -right.weight], dim=1)
    return _like(left, weight, left.bias - right.bias)


def _like(convolution: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    kernel, stride = convolution.kernel_size, convolution.stride
    made = nn.Conv2d(
        weight.shape[1], weight.shape[0], (kernel[0], kernel[1]), (stride[0], stride[1])
    )
    assert made.bias is not None
    assert convolution.padding == (0, 0)
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made
