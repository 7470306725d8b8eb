"""What the detectors on EfficientNet-Lite0 have in common: its weights, its mode, its features."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from edgead.artifact.specs import TeacherSpec
from edgead.backbones import lite, weights
from edgead.errors import UsageError
from edgead.models._channels import ChannelSums
from edgead.models._feature_cache import PyramidCache
from edgead.models._frozen_model import FrozenModel
from edgead.models.base import PhotoBatches
from edgead.models.gradient import StepBatch
from edgead.models.options import OptionValue
from edgead.networks.efficientnet_lite import EfficientNetLite0, to_lite_input
from edgead.teachers._weights import RANDOM, random_weights


class LiteModel(FrozenModel):
    """A detector that learns from the features of a frozen EfficientNet-Lite0.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of :attr:`divisor`.
        options: As the detector declares them.

    Raises:
        UsageError: A side is not a multiple, or an unknown option.
    """

    stages: ClassVar[tuple[int, ...]]
    """Numbers of the stages whose features are learned, ascending."""

    inputs: ClassVar[tuple[int, ...]] = ()
    """Numbers of further stages that the steps need: where trained networks start."""

    divisor: ClassVar[int] = lite.FACTOR

    teacher_net: EfficientNetLite0

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        for side in image_size:
            if side % self.divisor or side < self.divisor:
                lower = max(self.divisor, side // self.divisor * self.divisor)
                raise UsageError(
                    f"{self.name} takes image sides that are multiples of {self.divisor} pixels, "
                    f"not {side}: use for example {lower} or {lower + self.divisor}"
                )
        self.teacher_net = EfficientNetLite0(self.stages[-1]).requires_grad_(False)
        for stage in self.stages:
            channels = lite.channels(stage)
            self.register_buffer(f"mean_{stage}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation_{stage}", torch.ones(1, channels, 1, 1))

    def load_teacher(self, source: str | None) -> TeacherSpec:
        """Load the weights of the package that comes with ``edgead[teach]``.

        Raises:
            UsageError: A file was given.
            MissingDependencyError: The package is not installed.
        """
        if source == RANDOM:
            return random_weights("efficientnet-lite0", self.teacher_net)
        if source is not None:
            raise UsageError(
                f"{self.name} only takes the weights of {weights.PACKAGE}: leave --teacher out, or "
                f"write '{RANDOM}' for untrained ones"
            )
        self.teacher_net.load(weights.load())
        return weights.SPEC

    def cells(self, stage: int) -> tuple[int, int]:
        """Return ``(height, width)`` of a stage's features."""
        height, width = self.image_size
        return height // lite.stride(stage), width // lite.stride(stage)

    def all_stages(self, photos: Tensor) -> list[Tensor]:
        """Return the features of every stage for uint8 ``[N, H, W, 3]`` BGR."""
        found: list[Tensor] = self.teacher_net(to_lite_input(photos))
        return found

    def features(self, photos: Tensor) -> list[Tensor]:
        """Return what the steps need: :attr:`inputs` and :attr:`stages`, not standardised."""
        return self._kept(self.all_stages(photos))

    def _kept(self, found: list[Tensor]) -> list[Tensor]:
        return [found[stage] for stage in (*self.inputs, *self.stages)]

    def fit(self, batches: PhotoBatches) -> None:
        """Keep the features of the training photos, with each channel's mean and deviation."""
        self._cache = PyramidCache()
        sums = {stage: ChannelSums() for stage in self.stages}
        with torch.no_grad():
            for photos in batches():
                found = [stage.float() for stage in self.all_stages(photos)]
                self._cache.append(self._kept(found))
                for stage, channels in sums.items():
                    channels.add(found[stage])
                self.observe(found)
        for stage, channels in sums.items():
            mean, deviation = channels.mean_and_deviation()
            self.get_buffer(f"mean_{stage}").copy_(mean)
            self.get_buffer(f"deviation_{stage}").copy_(deviation)

    def observe(self, stages: list[Tensor]) -> None:
        """Learn from the features of some training photos, all stages; called by :meth:`fit`."""

    def standardised(self, levels: list[Tensor]) -> list[Tensor]:
        """Give each channel of the levels mean 0 and deviation 1 on training photos."""
        return [
            (level.float() - self.get_buffer(f"mean_{stage}"))
            / self.get_buffer(f"deviation_{stage}")
            for stage, level in zip(self.stages, levels, strict=True)
        ]

    def targets(self, batch: StepBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of :attr:`inputs` and the standardised levels of a step's photos."""
        found = self._targets(batch)
        count = len(self.inputs)
        return found[:count], self.standardised(found[count:])
