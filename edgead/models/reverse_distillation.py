"""Reverse Distillation (RD4AD; Deng & Li, CVPR 2022; arXiv 2201.10703).

A frozen encoder describes the photo at three levels, a bottleneck squeezes the three into one small
embedding, and a decoder learns to give the three levels back from it. What the embedding of good
parts cannot carry, a defect, does not come back.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec
from edgead.models._maps import bilinear_matrix, cosine_distance, gaussian_matrix
from edgead.models._trunk_model import TrunkModel
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import Choice, Number, OptionValue
from edgead.models.registry import register_model
from edgead.networks import resnet
from edgead.networks.inputs import IMAGENET_MEAN, to_network_input

SMOOTHING = 4.0  # deviation of the Gaussian, pixels of the map (official code, test.py)


class Bottleneck(nn.Module):
    """Multi-scale fusion and one-class embedding (paper, section 3.3).

    Args:
        architecture: The encoder's.
        blocks: Residual blocks of the embedding.
    """

    def __init__(self, architecture: resnet.Architecture, blocks: int) -> None:
        super().__init__()
        first, second, third = architecture.channels

        def halve(channels: int, out: int) -> list[nn.Module]:
            return [
                nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]

        self.fuse1 = nn.Sequential(*halve(first, second), *halve(second, third))
        self.fuse2 = nn.Sequential(*halve(second, third))
        self.embed = resnet.stage(architecture, 3 * third, 512, blocks, stride=2)
        resnet.initialise(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Embed the encoder's three levels, at a thirty-second of the image's resolution."""
        first, second, third = features
        joined = torch.cat([self.fuse1(first), self.fuse2(second), third], 1)
        embedding: Tensor = self.embed(joined)
        return embedding


class Decoder(nn.Module):
    """The encoder mirrored: 2x2 transposed convolutions in place of strided ones.

    Args:
        architecture: The encoder's.
    """

    def __init__(self, architecture: resnet.Architecture) -> None:
        super().__init__()
        channels = 512 * architecture.expansion
        for level in range(3):
            planes = 256 >> level
            layer = resnet.stage(
                architecture, channels, planes, architecture.blocks[level], 2, transposed=True
            )
            self.add_module(resnet.LEVELS[level], layer)
            channels = planes * architecture.expansion
        resnet.initialise(self)

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Give the levels back, finest first, as the encoder does."""
        features = []
        x = embedding
        for name in resnet.LEVELS:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features[::-1]


class ReverseDistillationBase(TrunkModel):
    """Reverse distillation with any of the ResNets here.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 32.
        options: ``loss``, the paper's cosine of each position or the official code's of each
            photo's flattened level; ``l2``, the weight of the survey's extra squared distance in
            the loss and of its distance in the map (paper: 0).

    Raises:
        UsageError: A size that is not a multiple of 32, or an unknown option.
    """

    architecture: ClassVar[str]
    coarsest_cell = 32  # of the embedding
    embedding_blocks: ClassVar[int]
    declared_options: ClassVar = {
        "loss": Choice(
            "cosine distance per position (paper) or per level of a photo (official code)",
            ("per-position", "flattened"),
        ),
        "l2": Number("weight of an additional squared distance (paper 0)", 0.0),
    }

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        self._sizes = resnet.level_sizes(image_size, self.name)
        shape = resnet.ARCHITECTURES[self.architecture]
        self.teacher_net = resnet.Trunk(self.architecture).requires_grad_(False)
        self.bottleneck = Bottleneck(shape, self.embedding_blocks)
        self.decoder = Decoder(shape)
        self.head = _Head(self._sizes, image_size, float(self.options["l2"]))

    @property
    def map_spec(self) -> MapSpec:
        """A cell for each pixel: the paper's maps have the image's resolution."""
        height, width = self.image_size
        return MapSpec(height, width, 0.0, 0.0, float(height), float(width))

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam with betas 0.5 and 0.999 at a constant rate (paper, section 4.1)."""
        trained = [*self.bottleneck.parameters(), *self.decoder.parameters()]
        optimizer = torch.optim.Adam(trained, learning_rate, betas=(0.5, 0.999))
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, 0)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Cosine distance by level (paper, equations 1 and 2), and the extra term if asked for."""
        targets = self._targets(batch)
        found = [level.float() for level in self.decoder(self.bottleneck(targets))]
        losses = {}
        for name, target, level in zip(resnet.LEVELS, targets, found, strict=True):
            if self.options["loss"] == "flattened":
                flat = (target.float().flatten(1), level.flatten(1))
                losses[name] = (1 - nn.functional.cosine_similarity(*flat)).mean()
            else:
                losses[name] = cosine_distance(target.float(), level).mean()
        if self.head.l2:
            losses["l2"] = (
                self.head.l2
                * torch.stack(
                    [
                        nn.functional.mse_loss(level, target.float())
                        for target, level in zip(targets, found, strict=True)
                    ]
                ).sum()
            )
        return losses

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: the sum of the enlarged maps, smoothed (official code, test.py)."""
        features = self.teacher_net(to_network_input(photos))
        anomaly_map: Tensor = self.head(features, self.decoder(self.bottleneck(features)))
        return anomaly_map

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self)


@register_model("reverse-distillation")
class ReverseDistillation(ReverseDistillationBase):
    """Reverse Distillation with WideResNet-50-2, as published: 108.67 M parameters, 30.45 GMAC."""

    architecture = "wide_resnet50_2"
    embedding_blocks = 3
    recipe = Recipe(
        steps=3_000,
        cpu_steps=60,
        batch_size=16,
        learning_rate=5e-3,
        wants_penalty=False,
        reference="paper, section 4.1: 200 epochs, here of 240 photos",
    )


@register_model("reverse-distillation-resnet18")
class ReverseDistillationResNet18(ReverseDistillationBase):
    """Reverse Distillation with ResNet-18, for small devices: 18.17 M parameters, 4.32 GMAC."""

    architecture = "resnet18"
    embedding_blocks = 2
    recipe = Recipe(
        steps=3_000,
        cpu_steps=150,
        batch_size=16,
        learning_rate=5e-3,
        wants_penalty=False,
        reference="paper, section 4.1: 200 epochs, here of 240 photos",
    )


class _Head(nn.Module):
    """Distances, enlargement, sum and smoothing; stays FP32 in every precision."""

    def __init__(
        self, sizes: list[tuple[int, int]], image_size: tuple[int, int], l2: float
    ) -> None:
        super().__init__()
        self.l2 = l2
        height, width = image_size
        smooth_rows = gaussian_matrix(height, SMOOTHING).double()
        smooth_columns = gaussian_matrix(width, SMOOTHING).double()
        # Smoothing an enlarged row is one matrix: both are linear.
        for level, (rows, columns) in enumerate(sizes):
            down = smooth_rows @ bilinear_matrix(rows, height, True).double()
            across = smooth_columns @ bilinear_matrix(columns, width, True).double()
            self.register_buffer(f"rows_{level}", down.float(), persistent=False)
            self.register_buffer(f"columns_{level}", across.T.float(), persistent=False)

    def forward(self, teacher: list[Tensor], student: list[Tensor]) -> Tensor:
        first, second, third = (
            self.get_buffer(f"rows_{level}")
            @ _distance(target, found, self.l2)
            @ self.get_buffer(f"columns_{level}")
            for level, (target, found) in enumerate(zip(teacher, student, strict=True))
        )
        return first + second + third


class _Deployed(nn.Module):
    """The exported graph: raw pixels in, batch normalisation and pixel scaling folded."""

    mean_bgr: Tensor

    def __init__(self, model: ReverseDistillationBase) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(model.teacher_net).cpu().float()
        self.bottleneck = copy.deepcopy(model.bottleneck).cpu().float()
        self.decoder = copy.deepcopy(model.decoder).cpu().float()
        for network in (self.teacher, self.bottleneck, self.decoder):
            resnet.fold_batch_norms(network)
        resnet.take_centred_pixels(self.teacher.conv1)
        mean = torch.tensor(IMAGENET_MEAN) * 255
        self.register_buffer("mean_bgr", mean.flip(0).view(1, 3, 1, 1))
        self.head = copy.deepcopy(model.head).cpu()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        x = image.permute(0, 3, 1, 2).float() - self.mean_bgr
        features = self.teacher(x)
        anomaly_map = self.head(features, self.decoder(self.bottleneck(features)))
        return anomaly_map, anomaly_map.amax(dim=(1, 2))


def _distance(target: Tensor, found: Tensor, l2: float) -> Tensor:
    """Cosine distance of each position, plus the survey's weighted Euclidean one."""
    target, found = target.float(), found.float()
    distance = cosine_distance(target, found)
    if l2:
        distance = distance + l2 * (found - target).square().sum(1).sqrt()
    return distance
