"""What every detector is to the trainer, the evaluation and the export."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec, TeacherSpec
from edgead.errors import UsageError
from edgead.models.options import Option, OptionValue, recorded, resolve

PhotoBatches = Callable[[], Iterator[Tensor]]
"""Called anew for each pass; yields uint8 ``[N, H, W, 3]`` BGR batches on the model's device."""


class AnomalyModel(nn.Module, abc.ABC):
    """A detector that can be trained, measured and exported.

    The trainer calls, in this order: :meth:`load_teacher`, :meth:`fit` on the training photos, and
    :meth:`fit_normalisation` on the validation photos. A detector that learns by gradient steps is
    a :class:`~edgead.models.gradient.GradientModel`. All state that a finished detector needs is in
    its parameters and buffers.

    Args:
        image_size: ``(height, width)`` in pixels.
        options: Values for :attr:`declared_options`; what is left out takes its default.

    Raises:
        UsageError: An option that the detector does not have, or a value that it does not take.
    """

    name: ClassVar[str]
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

    @abc.abstractmethod
    def fit(self, batches: PhotoBatches) -> None:
        """Learn from the training photos, in one or more passes over them.

        The model is in evaluation mode. A training that was interrupted calls it again from the
        start.
        """

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Fit what brings maps to a common scale, on held-out good photos."""

    def fit_judged_normalisation(
        self, batches: PhotoBatches, judged: npt.NDArray[np.bool_]
    ) -> None:
        """Fit it where some cells of the maps are not judged; by default on all cells all the same.

        Args:
            batches: As :meth:`fit_normalisation` takes them.
            judged: Cells that count, bool ``[photos, h, w]``.
        """
        self.fit_normalisation(batches)

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
