"""ResNet trunks (He et al., CVPR 2016; Zagoruyko & Komodakis, BMVC 2016) up to their third stage.

Parameter names are those of torchvision's and timm's files, so that published ImageNet weights load
as they are. What no detector here uses, the fourth stage and the classifier, is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgead.backbones.resnet import ARCHITECTURES, DIVISOR, LEVELS, Architecture
from edgead.errors import UsageError
from edgead.networks.inputs import IMAGENET_STD

__all__ = ["ARCHITECTURES", "DIVISOR", "LEVELS", "Architecture"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        channels: Channels of the input.
        planes: Channels of the output.
        resample: The shortcut's convolution and normalisation where shapes differ.
        first: The first convolution; the one that changes the resolution.
    """

    def __init__(
        self, channels: int, planes: int, resample: nn.Sequential | None, first: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = first
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.downsample = resample

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``[N, channels, h, w]`` to ``[N, planes, h', w']``."""
        main = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(main + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; arguments as in :class:`BasicBlock`."""

    def __init__(
        self, channels: int, planes: int, resample: nn.Sequential | None, middle: nn.Module
    ) -> None:
        super().__init__()
        width: int = middle.in_channels  # type: ignore[assignment]
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = middle
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU()
        self.downsample = resample

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``[N, channels, h, w]`` to ``[N, 4 * planes, h', w']``."""
        main = self.relu(self.bn1(self.conv1(x)))
        main = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(main)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(main + shortcut)
        return out


def _strided(channels: int, out: int, kernel: int, stride: int) -> nn.Module:
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)


def _transposed(channels: int, out: int, kernel: int, stride: int) -> nn.Module:
    if stride == 1:
        return _strided(channels, out, kernel, 1)
    return nn.ConvTranspose2d(channels, out, 2, stride, bias=False)


def stage(
    architecture: Architecture,
    channels: int,
    planes: int,
    blocks: int,
    stride: int,
    transposed: bool = False,
) -> nn.Sequential:
    """Build residual blocks of which the first changes the resolution.

    Args:
        architecture: Decides the kind of block and its inner width.
        channels: Channels of the input.
        planes: The output has ``planes * architecture.expansion`` channels.
        blocks: How many.
        stride: Stride of the first block.
        transposed: Enlarge by 2x2 transposed convolutions in place of strided ones (the decoder of
            Reverse Distillation).
    """
    resampling: Callable[[int, int, int, int], nn.Module] = _transposed if transposed else _strided
    out = planes * architecture.expansion
    width = planes * architecture.width // 64
    built: list[nn.Module] = []
    for index in range(blocks):
        step = stride if index == 0 else 1
        shortcut = None
        if step != 1 or channels != out:
            shortcut = nn.Sequential(resampling(channels, out, 1, step), nn.BatchNorm2d(out))
        if architecture.bottleneck:
            middle = resampling(width, width, 3, step)
            built.append(Bottleneck(channels, planes, shortcut, middle))
        else:
            built.append(BasicBlock(channels, planes, shortcut, resampling(channels, out, 3, step)))
        channels = out
    return nn.Sequential(*built)


class Trunk(nn.Module):
    """A ResNet from the image to its third stage.

    Args:
        architecture: A name in :data:`ARCHITECTURES`.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.architecture = architecture
        chosen = ARCHITECTURES[architecture]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for level, name in enumerate(LEVELS):
            layer = stage(chosen, channels, 64 << level, chosen.blocks[level], min(level + 1, 2))
            self.add_module(name, layer)
            channels = chosen.channels[level]
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Describe images at three levels.

        Args:
            images: Normalised RGB ``[N, 3, H, W]``.

        Returns:
            Features at a quarter, an eighth and a sixteenth of the resolution.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for name in LEVELS:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features


def initialise(network: nn.Module) -> None:
    """Draw convolutions as torchvision does (Kaiming normal, fan out)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def level_sizes(image_size: tuple[int, int], name: str) -> list[tuple[int, int]]:
    """Return the ``(height, width)`` of the three levels' features.

    Raises:
        UsageError: A side is not a multiple of 32; names the nearest that are.
    """
    for side in image_size:
        if side % DIVISOR or side < DIVISOR:
            lower = max(DIVISOR, side // DIVISOR * DIVISOR)
            raise UsageError(
                f"{name} halves the image five times, so an image side of {side} pixels does not "
                f"fit: use a multiple of {DIVISOR}, such as {lower} or {lower + DIVISOR}"
            )
    height, width = image_size
    return [(height // divisor, width // divisor) for divisor in (4, 8, 16)]


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch normalisation into the convolution before it, exactly, in place."""
    for parent in network.modules():
        children: Sequence[tuple[str, Any]] = list(parent.named_children())
        convolution = ""
        for name, child in children:
            if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
                convolution = name
            elif isinstance(child, nn.BatchNorm2d):
                before = parent.get_submodule(convolution)
                folded = fuse_conv_bn_eval(
                    before.double().eval(),  # type: ignore[type-var]
                    child.double().eval(),
                    transpose=isinstance(before, nn.ConvTranspose2d),
                )
                setattr(parent, convolution, folded.float())
                setattr(parent, name, nn.Identity())


def take_centred_pixels(convolution: nn.Conv2d) -> None:
    """Make a first convolution take BGR ``pixels - 255 * mean`` in place of normalised RGB.

    The mean itself cannot be folded: the convolution pads with zeros, which stand for it.
    """
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        convolution.weight.copy_((convolution.weight / std / 255).flip(1))
