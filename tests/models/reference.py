"""ResNets written out a second time, from the papers' tables, over torchvision's names."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
BLOCKS = {"resnet18": (2, 2, 2), "wide_resnet50_2": (3, 4, 6)}


class State:
    """A state dict, read a name at a time."""

    def __init__(self, state: dict[str, Tensor], prefix: str = "") -> None:
        self.state, self.prefix = state, prefix

    def at(self, name: str) -> State:
        return State(self.state, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.state

    def norm(self, name: str, x: Tensor, training: bool = False) -> Tensor:
        mean, var = self[f"{name}.running_mean"], self[f"{name}.running_var"]
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        shape = (1, -1, 1, 1)
        scale = self[f"{name}.weight"] / (var + 1e-5).sqrt()
        return (x - mean.view(shape)) * scale.view(shape) + self[f"{name}.bias"].view(shape)


def block(s: State, x: Tensor, stride: int, transposed: bool, training: bool) -> Tensor:
    """One residual block; which convolution changes the resolution is in the papers' tables."""

    def resample(name: str, y: Tensor) -> Tensor:
        weight = s[f"{name}.weight"]
        if stride > 1 and transposed:
            return functional.conv_transpose2d(y, weight, stride=2)
        return functional.conv2d(y, weight, stride=stride, padding=weight.shape[-1] // 2)

    if "conv3.weight" in s:
        y = functional.conv2d(x, s["conv1.weight"])
        y = functional.relu(s.norm("bn1", y, training))
        y = functional.relu(s.norm("bn2", resample("conv2", y), training))
        y = s.norm("bn3", functional.conv2d(y, s["conv3.weight"]), training)
    else:
        y = functional.relu(s.norm("bn1", resample("conv1", x), training))
        y = s.norm("bn2", functional.conv2d(y, s["conv2.weight"], padding=1), training)
    if "downsample.0.weight" in s:
        x = s.norm("downsample.1", resample("downsample.0", x), training)
    return functional.relu(x + y)


def stage(
    s: State, x: Tensor, count: int, stride: int, transposed: bool = False, training: bool = False
) -> Tensor:
    for index in range(count):
        x = block(s.at(str(index)), x, stride if index == 0 else 1, transposed, training)
    return x


def trunk(s: State, x: Tensor, architecture: str, training: bool = False) -> list[Tensor]:
    """ResNet to its third stage: normalised ``[N, 3, H, W]`` to three levels."""
    x = functional.conv2d(x, s["conv1.weight"], stride=2, padding=3)
    x = functional.relu(s.norm("bn1", x, training))
    x = functional.max_pool2d(x, 3, 2, 1)
    features = []
    for level, count in enumerate(BLOCKS[architecture]):
        name = f"layer{level + 1}"
        x = stage(s.at(name), x, count, 1 if level == 0 else 2, training=training)
        features.append(x)
    return features


def photos(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Smooth random photos, uint8 ``[N, H, W, 3]`` BGR."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)))
    fine = functional.interpolate(coarse, size, mode="bicubic", align_corners=False)
    noisy = fine + torch.from_numpy(rng.normal(0, 8, fine.shape))
    return noisy.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def network_input(batch: Tensor) -> Tensor:
    return (batch.flip(-1).permute(0, 3, 1, 2) / 255 - MEAN) / STD


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Give batch normalisations statistics and weights as a trained network has them."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.6, 1.2),
                (module.bias.data, -0.3, 0.3),
            ):
                assert values is not None
                values.uniform_(low, high, generator=generator)
