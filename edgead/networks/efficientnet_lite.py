"""EfficientNet-Lite0 as a torch module, for detectors that are trained.

Source: M. Tan, Q. Le, "EfficientNet" (ICML 2019), as EfficientNet-Lite; the same blocks, padding
and weights as :mod:`edgead.backbones`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgead.backbones import lite
from edgead.backbones.folding import Folded, folded
from edgead.backbones.safetensors import Arrays


class SameConv(nn.Module):
    """A convolution with TensorFlow's ``SAME`` padding, its batch normalisation folded in.

    Args:
        layer: Weights and biases.
        stride: Stride.
        groups: Groups of channels.
    """

    def __init__(self, layer: Folded, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(layer.weight.copy()))
        self.bias = nn.Parameter(torch.from_numpy(layer.bias.copy()))
        self.stride, self.groups = stride, groups

    def forward(self, values: Tensor) -> Tensor:
        """Convolve ``[N, C, h, w]``."""
        kernel, step = self.weight.shape[-1], self.stride
        rows, columns = (lite.same_padding(side, kernel, step) for side in values.shape[-2:])
        padded = functional.pad(values, (*columns, *rows))
        return functional.conv2d(padded, self.weight, self.bias, step, groups=self.groups)


class InvertedResidual(nn.Module):
    """One block: expand, filter each channel, project; the input is added where shapes fit.

    Args:
        block: Its shape.
        arrays: Of :func:`edgead.backbones.weights.load`.
    """

    def __init__(self, block: lite.Block, arrays: Arrays) -> None:
        super().__init__()
        name = block.name
        self.is_residual = block.is_residual
        self.expand = (
            SameConv(folded(arrays, f"{name}._expand_conv", f"{name}._bn0", lite.EPSILON))
            if block.expansion != 1
            else None
        )
        depthwise = folded(arrays, f"{name}._depthwise_conv", f"{name}._bn1", lite.EPSILON)
        self.depthwise = SameConv(depthwise, block.stride, block.inputs * block.expansion)
        self.project = SameConv(
            folded(arrays, f"{name}._project_conv", f"{name}._bn2", lite.EPSILON)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output for ``[N, C, h, w]``."""
        wide = values if self.expand is None else functional.relu6(self.expand(values))
        found: Tensor = self.project(functional.relu6(self.depthwise(wide)))
        return values + found if self.is_residual else found


class EfficientNetLite0(nn.Module):
    """The backbone up to a stage.

    Args:
        arrays: Of :func:`edgead.backbones.weights.load`.
        last: Number of the last stage, 0 to 6.
    """

    def __init__(self, arrays: Arrays, last: int = lite.STAGES - 1) -> None:
        super().__init__()
        self.stem = SameConv(folded(arrays, "_conv_stem", "_bn0", lite.EPSILON), 2)
        self.specs = [block for block in lite.BLOCKS if block.stage <= last]
        self.blocks = nn.ModuleList(InvertedResidual(block, arrays) for block in self.specs)

    def forward(self, photos: Tensor) -> list[Tensor]:
        """Return every stage's output, float32 ``[N, C, h, w]``.

        Args:
            photos: uint8 ``[N, H, W, 3]`` BGR.
        """
        rgb = photos.permute(0, 3, 1, 2).flip(1).float()
        found = functional.relu6(self.stem((rgb - lite.MEAN) / lite.DEVIATION))
        stages: dict[int, Tensor] = {}
        for spec, block in zip(self.specs, self.blocks, strict=True):
            found = stages[spec.stage] = block(found)
        return list(stages.values())
