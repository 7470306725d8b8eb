"""What the detectors on EfficientNet-Lite0 make of their distances: a map, a score, a graph."""

from __future__ import annotations

import abc
import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec
from edgead.backbones import lite
from edgead.errors import UsageError
from edgead.models._lite_heads import DEEP, SURFACE, FusedHead, Head, TrainedHead
from edgead.models._lite_model import LiteModel
from edgead.models._taught_head import TaughtLearner
from edgead.models.base import PhotoBatches
from edgead.models.options import Choice, Number, OptionValue
from edgead.networks.efficientnet_lite import pad_evenly, take_centred_pixels
from edgead.networks.resnet import fold_batch_norms

_TAUGHT, _NONE = "taught", "none"
_POWER, _FORMER_POWER = 0.33, 0.5


class LiteDetector(LiteModel):
    """A detector that compares deep features of EfficientNet-Lite0 with what it learned of them.

    By default it is joined with what ``edgead teach`` learns of the same backbone: its score with
    the trained one, and its map, which is finer, in place of the trained one.

    Args:
        image_size: ``(height, width)`` in pixels.
        options: ``fusion``, whether the taught score and map are joined with the trained ones
            (``taught``), or the trained ones are used alone, as published (``none``). ``power``, of
            the product of the two scores. A trained score is a squared distance and a taught one a
            distance, so a third makes a distance of them (docs/notes/lite.md).

    Raises:
        UsageError: A size that does not fit, or an unknown option.
    """

    stages = (5, 6)
    coarsest_cell = 32
    shares: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    """Of each distance in the sum, where all have the same mean on good photos."""

    declared_options: ClassVar = {
        "fusion": Choice(
            "joined with the taught score and map, or trained alone (paper)", (_TAUGHT, _NONE)
        ),
        "power": Number(
            "power of the product of the trained and the taught score",
            _POWER,
            most=1,
            before=_FORMER_POWER,
        ),
    }

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        cells = self.cells(self.stages[0])
        power = float(self.options["power"])
        if power == 0 and self.options["fusion"] == _TAUGHT:
            raise UsageError(
                f"with power=0 all photos have the same score in {self.name}: use a number above "
                f"0, for example {_POWER}"
            )
        if self.options["fusion"] == _TAUGHT:
            self.head: Head = FusedHead(self.shares, power, cells)
            self._learner: TaughtLearner | None = TaughtLearner(cells)
        else:
            self.head = TrainedHead(self.shares, cells, self.cells(SURFACE))
            self._learner = None

    @abc.abstractmethod
    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Compare features of all stages with what was learned: ``[N, h, w]`` for each share."""

    @property
    def map_spec(self) -> MapSpec:
        """The cells of the stage that the taught map is of."""
        height, width = self.image_size
        return MapSpec(*self.cells(SURFACE), 0.0, 0.0, float(height), float(width))

    def fit(self, batches: PhotoBatches) -> None:
        """Keep the features of the training photos, and learn what is taught of them.

        Raises:
            DataError: Too few photos for the taught score.
        """
        if self._learner is not None:
            self._learner = TaughtLearner(self.cells(DEEP))
        super().fit(batches)
        if self._learner is not None:
            assert isinstance(self.head, FusedHead)
            self._learner.teach(self.head.taught)

    def observe(self, stages: list[Tensor]) -> None:
        """Learn the taught score and map."""
        if self._learner is not None:
            self._learner.add(stages[DEEP], stages[SURFACE])

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Take mean distances of held-out good photos as units."""
        distances, deep = [], []
        with torch.no_grad():
            for photos in batches():
                levels, stages = self._compared(photos)
                distances.append(levels)
                deep.append(stages[DEEP])  # all stages of thousands of windows take gigabytes
        self.head.fit_units(
            [torch.cat(parts) for parts in zip(*distances, strict=True)], torch.cat(deep)
        )

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: uint8 ``[N, H, W, 3]`` BGR to float32 maps ``[N, h, w]``."""
        anomaly_map: Tensor = self.head(*self._compared(photos))
        return anomaly_map

    def _compared(self, photos: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the distances, and the features of all stages."""
        stages = [stage.float() for stage in self.all_stages(photos)]
        return self.distances(stages), stages


class DeployedLite(nn.Module):
    """The exported graph: raw pixels in, batch normalisations folded.

    Args:
        model: The trained detector.
        networks: Its trained networks; each becomes an attribute.
    """

    def __init__(self, model: LiteDetector, **networks: nn.Module) -> None:
        super().__init__()
        self.stages = model.stages
        self.teacher = copy.deepcopy(model.teacher_net).cpu().float()
        take_centred_pixels(self.teacher)
        for name, network in networks.items():
            setattr(self, name, copy.deepcopy(network).cpu().float())
        fold_batch_norms(self)
        pad_evenly(self)
        for stage in self.stages:
            deviation = model.get_buffer(f"deviation_{stage}").cpu().double()
            self.register_buffer(f"mean_{stage}", model.get_buffer(f"mean_{stage}").cpu().float())
            self.register_buffer(f"factor_{stage}", (1 / deviation).float())
        self.head = copy.deepcopy(model.head).cpu()
        self.eval()

    @abc.abstractmethod
    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """As :meth:`LiteDetector.distances`."""

    def standardised(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the learned levels of all stages, standardised."""
        return [
            (stages[stage] - self.get_buffer(f"mean_{stage}")) * self.get_buffer(f"factor_{stage}")
            for stage in self.stages
        ]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        stages = self.teacher(image.permute(0, 3, 1, 2).float() - lite.MEAN)
        anomaly_map = self.head(self.distances(stages), stages)
        return anomaly_map, anomaly_map.amax(dim=(1, 2))
