"""What every detector is to the trainer, the evaluation and the export."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec, TeacherSpec
from edgead.errors import UsageError
from edgead.models.options import Option, OptionValue, recorded, resolve

# ImageNet's channel statistics, RGB, for values in 0..1: what every pretrained backbone expects.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_Module = TypeVar("_Module", bound=nn.Module)

PhotoBatches = Callable[[], Iterator[Tensor]]
"""Called anew for each pass; yields uint8 ``[N, H, W, 3]`` BGR batches on the model's device."""


@dataclass(frozen=True)
class StepBatch:
    """What a training step gets.

    Attributes:
        photos: uint8 ``[N, H, W, 3]`` BGR, on the model's device.
        indices: Their positions in the training set, for caches.
        penalty: uint8 ``[N, H, W, 3]`` BGR photos that show no part, or ``None``.
        rng: The step's own random generator, so that a resumed training draws the same numbers.
    """

    photos: Tensor
    indices: list[int]
    penalty: Tensor | None
    rng: np.random.Generator


@dataclass(frozen=True)
class Recipe:
    """The default training of a detector.

    Attributes:
        steps: On a GPU, or where the paper gives a number.
        cpu_steps: On a machine without a GPU.
        batch_size: Photos a step.
        learning_rate: At its highest.
        wants_penalty: Whether steps need penalty images.
        reference: Where the numbers come from.
        cpu_options: The detector's own options that go with ``cpu_steps``.
    """

    steps: int
    cpu_steps: int
    batch_size: int
    learning_rate: float
    wants_penalty: bool
    reference: str
    cpu_options: Mapping[str, OptionValue] = field(default_factory=dict)


class AnomalyModel(nn.Module, abc.ABC):
    """A detector that can be trained, measured and exported.

    The trainer calls, in this order: :meth:`load_teacher`, :meth:`fit_statistics`,
    :meth:`make_optimizer`, :meth:`training_losses` for each step, and :meth:`fit_normalisation` at
    the end. All state that a finished detector needs is in its parameters and buffers.

    Args:
        image_size: ``(height, width)`` in pixels.
        options: Values for :attr:`declared_options`; what is left out takes its default.

    Raises:
        UsageError: An option that the detector does not have, or a value that it does not take.
    """

    name: ClassVar[str]
    recipe: ClassVar[Recipe]
    declared_options: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__()
        self.image_size = image_size
        self.options = self.resolve_options(options)
        """Every option's value, to rebuild this model from; plain JSON values."""

    @classmethod
    def resolve_options(cls, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """Check options and fill in the defaults.

        Raises:
            UsageError: As the constructor.
        """
        return resolve(cls.name, cls.declared_options, given)

    @classmethod
    def recorded_options(cls, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """Complete the options of a record that is older than some of them.

        Raises:
            UsageError: As the constructor.
        """
        return cls.resolve_options(recorded(cls.declared_options, given))

    @classmethod
    def recipe_with(cls, _options: Mapping[str, OptionValue]) -> Recipe:
        """Return the default training of the detector with some options, all of them given."""
        return cls.recipe

    @property
    @abc.abstractmethod
    def map_spec(self) -> MapSpec:
        """The anomaly map's cells and the input pixels that they cover."""

    def load_teacher(self, source: str | None) -> TeacherSpec | None:
        """Load pretrained weights: the default ones, or those of a file.

        Returns:
            What they are and under which licence; ``None`` for a detector without any.

        Raises:
            UsageError: A file was given to a detector that uses none.
        """
        if source is not None:
            raise UsageError(f"{self.name} uses no teacher; leave --teacher out")
        return None

    def fit_statistics(self, batches: PhotoBatches) -> None:
        """Measure what the losses need on the training photos, before the first step."""

    @abc.abstractmethod
    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Build the optimizer and a schedule that is stepped once an iteration."""

    @abc.abstractmethod
    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Return the named losses of one step; their sum is minimised."""

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Fit what brings maps to a common scale, on held-out good photos."""

    @abc.abstractmethod
    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: uint8 ``[N, H, W, 3]`` BGR to raw float32 maps ``[N, h, w]``."""

    @abc.abstractmethod
    def deployable(self) -> nn.Module:
        """Return the graph to export: ``image`` to ``(anomaly_map, score)``, constants folded."""

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Score photos.

        Args:
            photos: uint8 ``[N, H, W, 3]`` BGR.

        Returns:
            Raw anomaly maps float32 ``[N, h, w]`` and their maxima float32 ``[N]``.
        """
        maps = self.anomaly_map(photos)
        return maps, maps.amax(dim=(1, 2))


def to_network_input(photos: Tensor) -> Tensor:
    """Turn uint8 ``[N, H, W, 3]`` BGR into normalised float32 ``[N, 3, H, W]`` RGB."""
    return normalise(photos.permute(0, 3, 1, 2).flip(1).float() / 255)


def normalise(rgb: Tensor) -> Tensor:
    """Apply ImageNet's mean and deviation to RGB ``[N, 3, H, W]`` in 0..1."""
    mean = torch.tensor(IMAGENET_MEAN, device=rgb.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=rgb.device).view(1, 3, 1, 1)
    return ((rgb - mean) / std).contiguous(memory_format=torch.channels_last)


def channels_last(module: _Module) -> _Module:
    """Lay weights out as the CPU's and GPU's fast convolutions want them."""
    moved: _Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def parameter_count(module: nn.Module) -> int:
    """Count the weights and biases."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Count multiply-accumulates of the (transposed) convolutions in one call, without batch."""
    total = 0

    def hook(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        positions = output if isinstance(layer, nn.Conv2d) else arguments[0]
        total += layer.weight.numel() * positions.shape[-2] * positions.shape[-1]

    handles = [
        layer.register_forward_hook(hook)
        for layer in module.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return total
