"""EfficientNet-Lite0 as a torch module, for detectors that are trained.

Source: M. Tan, Q. Le, "EfficientNet" (ICML 2019), as EfficientNet-Lite; the same blocks, padding
and weights as :mod:`edgead.backbones`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgead.backbones import lite
from edgead.backbones.safetensors import Arrays


class SameConv(nn.Conv2d):
    """A convolution without bias and with TensorFlow's ``SAME`` padding.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
        stride: Stride.
        groups: Groups of channels.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve ``[N, C, h, w]``."""
        kernel, step = self.kernel_size[0], self.stride[0]
        rows, columns = (lite.same_padding(side, kernel, step) for side in values.shape[-2:])
        if any((*rows, *columns)):
            values = functional.pad(values, (*columns, *rows))
        found: Tensor = self._conv_forward(values, self.weight, self.bias)
        return found


class InvertedResidual(nn.Module):
    """One block: expand, filter each channel, project; the input is added where shapes fit.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the depthwise convolution.
        stride: Of the depthwise convolution.
        expansion: Factor of the first 1x1 convolution, which is left out where it is 1.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, expansion: int = 6
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.is_residual = stride == 1 and inputs == outputs
        self.is_expanding = expansion != 1
        if self.is_expanding:
            self.expand = SameConv(inputs, wide)
            self.expand_norm = nn.BatchNorm2d(wide, lite.EPSILON)
        self.depthwise = SameConv(wide, wide, kernel, stride, wide)
        self.depthwise_norm = nn.BatchNorm2d(wide, lite.EPSILON)
        self.project = SameConv(wide, outputs)
        self.project_norm = nn.BatchNorm2d(outputs, lite.EPSILON)

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output for ``[N, C, h, w]``."""
        wide = values
        if self.is_expanding:
            wide = functional.relu6(self.expand_norm(self.expand(wide)))
        wide = functional.relu6(self.depthwise_norm(self.depthwise(wide)))
        found: Tensor = self.project_norm(self.project(wide))
        return values + found if self.is_residual else found


class EfficientNetLite0(nn.Module):
    """The backbone up to a stage, with random weights until :meth:`load`.

    Args:
        last: Number of the last stage, 0 to 6.
    """

    def __init__(self, last: int = lite.STAGES - 1) -> None:
        super().__init__()
        self.stem = SameConv(3, lite.STEM, 3, 2)
        self.stem_norm = nn.BatchNorm2d(lite.STEM, lite.EPSILON)
        self.specs = [block for block in lite.BLOCKS if block.stage <= last]
        self.blocks = nn.ModuleList(
            InvertedResidual(b.inputs, b.outputs, b.kernel, b.stride, b.expansion)
            for b in self.specs
        )
        _initialise(self)

    def load(self, arrays: Arrays) -> None:
        """Take pretrained weights.

        Args:
            arrays: Of :func:`edgead.backbones.weights.load`.
        """
        self._load(arrays, self.stem, self.stem_norm, "_conv_stem", "_bn0")
        for spec, module in zip(self.specs, self.blocks, strict=True):
            block, name = cast(InvertedResidual, module), spec.name
            if block.is_expanding:
                self._load(
                    arrays, block.expand, block.expand_norm, f"{name}._expand_conv", f"{name}._bn0"
                )
            self._load(
                arrays,
                block.depthwise,
                block.depthwise_norm,
                f"{name}._depthwise_conv",
                f"{name}._bn1",
            )
            self._load(
                arrays, block.project, block.project_norm, f"{name}._project_conv", f"{name}._bn2"
            )

    @staticmethod
    def _load(
        arrays: Arrays, layer: nn.Conv2d, norm: nn.BatchNorm2d, convolution: str, normalisation: str
    ) -> None:
        layer.load_state_dict({"weight": torch.from_numpy(arrays[f"{convolution}.weight"].copy())})
        parts = ("weight", "bias", "running_mean", "running_var")
        state = {part: torch.from_numpy(arrays[f"{normalisation}.{part}"].copy()) for part in parts}
        norm.load_state_dict(state, strict=False)  # old files have no counter, which nothing reads

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return every stage's output, float32 ``[N, C, h, w]``.

        Args:
            images: Of :func:`to_lite_input`, float32 ``[N, 3, H, W]``.
        """
        found = functional.relu6(self.stem_norm(self.stem(images)))
        stages: dict[int, Tensor] = {}
        for spec, block in zip(self.specs, self.blocks, strict=True):
            found = stages[spec.stage] = block(found)
        return list(stages.values())


class LiteStages(nn.Module):
    """Some stages of the backbone as a network of its own, with random weights.

    Args:
        first: Number of its first stage, 1 to 6; its input is the output of the stage before.
        last: Number of its last stage.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.specs = [block for block in lite.BLOCKS if first <= block.stage <= last]
        self.blocks = nn.ModuleList(
            InvertedResidual(b.inputs, b.outputs, b.kernel, b.stride, b.expansion)
            for b in self.specs
        )
        _initialise(self)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return the output of each of its stages, float32 ``[N, C, h, w]``."""
        stages: dict[int, Tensor] = {}
        for spec, block in zip(self.specs, self.blocks, strict=True):
            features = stages[spec.stage] = block(features)
        return list(stages.values())


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # Fan in: what a depthwise convolution puts out comes from one channel alone.
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")


def to_lite_input(photos: Tensor) -> Tensor:
    """Turn uint8 ``[N, H, W, 3]`` BGR into the RGB float32 ``[N, 3, H, W]`` of the backbone."""
    rgb = photos.permute(0, 3, 1, 2).flip(1).float()
    images = (rgb - lite.MEAN) / lite.DEVIATION
    return images.contiguous(memory_format=torch.channels_last)


def pad_evenly(network: nn.Module) -> None:
    """Write ``SAME`` padding as the same number of zeros on each side, in place.

    At stride 2 ``SAME`` pads one more below and on the right (sides are even here). A row and a
    column of zeros before the kernel make it even; the export takes them off again, since ONNX has
    uneven padding in its convolutions and torch has not.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if not isinstance(layer, SameConv):
                continue
            more = layer.stride[0] - 1
            weight = functional.pad(layer.weight.detach(), (more, 0, more, 0))
            made = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                weight.shape[-1],
                layer.stride[0],
                layer.kernel_size[0] // 2,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
            made.weight = nn.Parameter(weight)
            if layer.bias is not None:
                made.bias = nn.Parameter(layer.bias.detach())
            setattr(parent, name, made)


def take_centred_pixels(network: EfficientNetLite0) -> None:
    """Make the stem take BGR ``pixels - lite.MEAN`` in place of :func:`to_lite_input`.

    The mean itself cannot be folded: the convolution pads with zeros, which stand for it.
    """
    with torch.no_grad():
        network.stem.weight.copy_((network.stem.weight / lite.DEVIATION).flip(1))
