"""EfficientAd (Batzner, Heckler, König, WACV 2024; arXiv 2303.14535v3).

``efficientad-s`` and ``efficientad-m`` are the paper's detectors. ``efficientad-n`` is ours: the
same method with a smaller teacher, student and autoencoder, for CPUs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec, TeacherSpec
from edgead.models._augment import RECOLOURING, jitter_one
from edgead.models._autoencoder import PaperAutoencoder, SmallAutoencoder
from edgead.models._channels import ChannelSums
from edgead.models._efficientad_graph import DeployedEfficientAd, raw_map
from edgead.models._feature_cache import FeatureCache
from edgead.models._losses import mean_of_highest
from edgead.models._schedule import warm_up_and_cosine
from edgead.models.base import PhotoBatches
from edgead.models.gradient import GradientModel, Recipe, StepBatch
from edgead.models.options import Choice, Number, Option, OptionValue
from edgead.models.registry import register_model
from edgead.networks import pdn
from edgead.networks.inputs import to_network_input
from edgead.networks.pdn import TEACHER_CHANNELS
from edgead.teachers.pdn import load_pdn_teacher

HARD_QUANTILE = 0.999  # p_hard, paper, section 3.2
_HARD_QUANTILE_SHORT = 0.99
_PAPER, _SHORT = "paper", "short"
_SHARE = "share of the autoencoder's map (paper 0.5, short recipe 0.25)"
_CENTRING = "share of the mean difference of a photo that is subtracted (paper 0, short recipe 0.5)"
_RECOLOURING = "largest change of brightness, contrast or saturation in training (paper 0.2)"
_PENALTY = "weight of the loss on penalty images (paper 1)"
_PAPERS_MAP = {"autoencoder_share": 0.5, "centring": 0.0}
_OUR_MAP = {"autoencoder_share": 0.25, "centring": 0.5}  # docs/notes/map.md
_SHORT_BATCH, _SHORT_RATE = 2, 1e-3
_LOW, _HIGH = 0.9, 0.995  # quantiles of the map normalisation, paper, section 3.4
_SCALE = 0.1  # a value at the high quantile becomes this


def _number_options(map_defaults: Mapping[str, float]) -> dict[str, Option]:
    """Declare how the two maps are made and weighed, and how the student learns.

    Older trainings made their maps as the paper does.
    """
    helps = {"autoencoder_share": _SHARE, "centring": _CENTRING}
    maps = {
        name: Number(text, map_defaults[name], most=1, before=_PAPERS_MAP[name])
        for name, text in helps.items()
    }
    return {
        **maps,
        "recolouring": Number(_RECOLOURING, RECOLOURING, most=1, before=RECOLOURING),
        "penalty": Number(_PENALTY, 1, before=1),
    }


class EfficientAd(GradientModel):
    """Student–teacher detector with an autoencoder for what is wrong as a whole.

    Args:
        image_size: ``(height, width)`` in pixels.
        options: ``recipe``, how it learns: the paper's way, which takes tens of thousands of
            steps, or a short one (docs/notes/training-recipe.md); ``efficientad-n`` only knows the
            second. ``autoencoder_share``, of its map in the anomaly map. ``centring``, how much is
            taken off of what the networks disagree about all over a photo, its exposure for example
            (docs/notes/map.md). ``recolouring``, how far brightness, contrast or
            saturation of a photo are changed in training. ``penalty``, the weight of the loss on
            penalty images.

    Raises:
        UsageError: The networks cannot take that size; says why. Or an unknown option.
    """

    size: ClassVar[str]
    declared_options: ClassVar[Mapping[str, Option]] = {
        "recipe": Choice("losses and schedule: the paper's, or for few steps", (_PAPER, _SHORT)),
        **_number_options(_PAPERS_MAP),
    }

    teacher_mean: Tensor
    teacher_std: Tensor
    quantiles: Tensor

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        spec = self.map_spec
        out_size = (spec.height, spec.width)
        self.teacher_net = pdn.PDN(self.size, TEACHER_CHANNELS).requires_grad_(False)
        self.student = pdn.PDN(self.size, 2 * TEACHER_CHANNELS)
        autoencoder = SmallAutoencoder if self.size == "n" else PaperAutoencoder
        self.autoencoder = autoencoder(image_size, out_size, TEACHER_CHANNELS)
        self.register_buffer("teacher_mean", torch.zeros(1, TEACHER_CHANNELS, 1, 1))
        self.register_buffer("teacher_std", torch.ones(1, TEACHER_CHANNELS, 1, 1))
        # Rows: student-teacher map, autoencoder-student map; columns: low and high quantile.
        self.register_buffer("quantiles", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self._cache: FeatureCache | None = None

    @classmethod
    def resolve_options(cls, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """Check options and fill in the defaults; the short recipe has its own map.

        Raises:
            UsageError: As the constructor.
        """
        own = _OUR_MAP if given.get("recipe") == _SHORT else {}
        return super().resolve_options({**own, **given})

    @property
    def map_spec(self) -> MapSpec:
        """The unpadded student's cells."""
        return pdn.map_spec(self.size, self.image_size)

    def load_teacher(self, source: str | None) -> TeacherSpec:
        """Load the pretrained teacher: the one in this package, or a file."""
        return load_pdn_teacher(self.teacher_net, self.size, source)

    def train(self, mode: bool = True) -> EfficientAd:
        """Switch dropout; the teacher never trains."""
        super().train(mode)
        self.teacher_net.eval()
        return self

    def fit(self, batches: PhotoBatches) -> None:
        """Measure the teacher's channel mean and deviation, and keep its features for the steps.

        The short recipe recolours every photo anew, so it keeps none.

        Source: paper, Algorithm 1, lines 6-14.
        """
        if not self._is_short:
            cells = self.map_spec.height, self.map_spec.width
            self._cache = FeatureCache((TEACHER_CHANNELS, *cells))
        sums = ChannelSums()
        with torch.no_grad():
            for photos in batches():
                features = self.teacher_net(to_network_input(photos)).float()
                if self._cache is not None:
                    self._cache.append(features)
                sums.add(features)
        mean, deviation = sums.mean_and_deviation()
        self.teacher_mean.copy_(mean)
        self.teacher_std.copy_(deviation)

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam; the paper's steps (Algorithm 1), or warm-up and cosine, made for few steps."""
        trained = [*self.student.parameters(), *self.autoencoder.parameters()]
        optimizer = torch.optim.Adam(trained, lr=learning_rate, weight_decay=1e-5)
        if self._is_short:
            return optimizer, warm_up_and_cosine(optimizer, steps)
        drop = max(1, int(0.95 * steps))
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, drop, gamma=0.1)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Return the losses of the recipe."""
        return self._short_losses(batch) if self._is_short else self._paper_losses(batch)

    def _paper_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Hard-feature loss, penalty on other pictures, and the autoencoder's two losses.

        Source: paper, Algorithm 1 and section 3.2, unweighted. The student's target from the
        autoencoder is not detached, as in the public re-implementations.
        """
        assert batch.penalty is not None
        photos = to_network_input(batch.photos)
        changed = to_network_input(self._recoloured(batch))
        penalty = to_network_input(batch.penalty)
        count = len(photos)
        with torch.no_grad():
            target = self._teacher_features(photos, batch.indices)
            changed_target = self._normalise(self.teacher_net(changed).float())
        imitation, on_changed, on_penalty = (
            self.student(torch.cat([photos, changed, penalty]))
            .float()
            .split([count, count, len(penalty)])
        )
        predicted = self.autoencoder(changed).float()
        distance = (target - imitation[:, :TEACHER_CHANNELS]).square()
        return {
            "hard": mean_of_highest(distance, HARD_QUANTILE),
            "penalty": self._penalty * on_penalty[:, :TEACHER_CHANNELS].square().mean(),
            "autoencoder": (changed_target - predicted).square().mean(),
            "student_autoencoder": (predicted - on_changed[:, TEACHER_CHANNELS:]).square().mean(),
        }

    def _short_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """The paper's losses on one recoloured view, a softer hard loss, and a plain one.

        The paper's recipe sees every photo twice and needs 70,000 steps. Sharing one recoloured
        view halves the time of a step, and the plain mean beside the hard loss lets a thousand
        steps do; docs/notes/training-recipe.md has the measurements.
        """
        assert batch.penalty is not None
        count = len(batch.photos)
        photos = to_network_input(self._recoloured(batch))
        penalty = to_network_input(batch.penalty[: max(1, count // 4)])
        with torch.no_grad():
            target = self._normalise(self.teacher_net(photos).float())
        on_photos, on_penalty = (
            self.student(torch.cat([photos, penalty])).float().split([count, len(penalty)])
        )
        predicted = self.autoencoder(photos).float()
        distance = (target - on_photos[:, :TEACHER_CHANNELS]).square()
        return {
            "hard": mean_of_highest(distance, _HARD_QUANTILE_SHORT),
            "plain": distance.mean(),
            "penalty": self._penalty * on_penalty[:, :TEACHER_CHANNELS].square().mean(),
            "autoencoder": (target - predicted).square().mean(),
            "student_autoencoder": (predicted - on_photos[:, TEACHER_CHANNELS:]).square().mean(),
        }

    def differences(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the networks disagree about, float32 ``[N, 384, h, w]`` each.

        Teacher minus student, and autoencoder minus student (paper, Algorithm 2).
        """
        images = to_network_input(photos)
        teacher = self._normalise(self.teacher_net(images).float())
        student = self.student(images).float()
        predicted = self.autoencoder(images).float()
        return teacher - student[:, :TEACHER_CHANNELS], predicted - student[:, TEACHER_CHANNELS:]

    def raw_maps(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student–teacher and the autoencoder–student map, float32 ``[N, h, w]``.

        Channel means of squared differences, before normalisation (paper, Algorithm 2); of each
        channel's mean over the photo the share ``centring`` is taken off first.
        """
        imitation_error, prediction_error = self.differences(photos)
        return raw_map(imitation_error, self.centring), raw_map(prediction_error, self.centring)

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Take the quantiles 0.9 and 0.995 of both maps over held-out good photos.

        Source: paper, section 3.4 and Algorithm 1, lines 37-47.
        """
        self._fit_quantiles(batches, None)

    def fit_judged_normalisation(
        self, batches: PhotoBatches, judged: npt.NDArray[np.bool_]
    ) -> None:
        """Take them over the cells that are judged."""
        self._fit_quantiles(batches, torch.from_numpy(judged))

    def _fit_quantiles(self, batches: PhotoBatches, judged: Tensor | None) -> None:
        values: tuple[list[Tensor], list[Tensor]] = ([], [])
        seen = 0
        with torch.no_grad():
            for photos in batches():
                for kept, single in zip(values, self.raw_maps(photos), strict=True):
                    flat = single.cpu()
                    if judged is not None:
                        flat = flat[judged[seen : seen + len(photos)]]
                    kept.append(flat.flatten())
                seen += len(photos)
        for row, kept in enumerate(values):
            # NumPy: torch.quantile refuses more than 2**24 values.
            low, high = np.quantile(torch.cat(kept).double().numpy(), [_LOW, _HIGH])
            self.quantiles[row] = torch.tensor([low, max(high, low + 1e-9)])

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: uint8 ``[N, H, W, 3]`` BGR to float32 maps ``[N, h, w]``.

        The mean of the two normalised maps (paper, Algorithm 2), or weighted as the option
        ``autoencoder_share`` says. A map's value is 0 at the 0.9 quantile of good parts and 0.1 at
        the 0.995 quantile.
        """
        weights, bias = self.head()
        student_map, autoencoder_map = self.raw_maps(photos)
        return weights[0] * student_map + weights[1] * autoencoder_map + bias

    @property
    def centring(self) -> float:
        """The share of each channel's mean over a photo that is taken off the differences."""
        return float(self.options["centring"])

    def head(self) -> tuple[Tensor, Tensor]:
        """Fold quantile normalisation and averaging into two weights ``[2]`` and a bias."""
        low, high = self.quantiles[:, 0], self.quantiles[:, 1]
        share = float(self.options["autoencoder_share"])
        weights = low.new_tensor([1 - share, share]) * _SCALE / (high - low)
        return weights, -(weights * low).sum()

    def deployable(self) -> nn.Module:
        """Return the graph to export, with every constant folded into the networks."""
        return DeployedEfficientAd(self)

    @classmethod
    def recipe_with(cls, options: Mapping[str, OptionValue]) -> Recipe:
        """Return the paper's numbers, or those of the short recipe."""
        if options.get("recipe", _PAPER) == _PAPER:
            return cls.recipe
        return dataclasses.replace(
            cls.recipe,
            batch_size=_SHORT_BATCH,
            learning_rate=_SHORT_RATE,
            reference="docs/notes/efficientad-n.md",
        )

    @property
    def _is_short(self) -> bool:
        return self.options.get("recipe", _SHORT) == _SHORT

    @property
    def _penalty(self) -> float:
        return float(self.options["penalty"])

    def _recoloured(self, batch: StepBatch) -> Tensor:
        return jitter_one(batch.photos, batch.rng, float(self.options["recolouring"]))

    def _normalise(self, features: Tensor) -> Tensor:
        return (features - self.teacher_mean) / self.teacher_std

    def _teacher_features(self, photos: Tensor, indices: list[int]) -> Tensor:
        if self._cache is None:
            return self._normalise(self.teacher_net(photos).float())
        return self._normalise(self._cache.get(indices).to(photos.device))


@register_model("efficientad-s")
class EfficientAdS(EfficientAd):
    """EfficientAd-S of the paper: 8,057,856 parameters, 37.9 GMAC at 256x256."""

    size = "s"
    recipe = Recipe(
        steps=70_000,
        cpu_steps=700,
        batch_size=1,
        learning_rate=1e-4,
        wants_penalty=True,
        reference="paper, Algorithm 1",
        cpu_options={"recipe": _SHORT},
    )


@register_model("efficientad-m")
class EfficientAdM(EfficientAd):
    """EfficientAd-M of the paper: 20,738,432 parameters, 117.7 GMAC at 256x256."""

    size = "m"
    recipe = Recipe(
        steps=70_000,
        cpu_steps=100,
        batch_size=1,
        learning_rate=1e-4,
        wants_penalty=True,
        reference="paper, Algorithm 1",
        cpu_options={"recipe": _SHORT},
    )


@register_model("efficientad-n")
class EfficientAdN(EfficientAd):
    """A small EfficientAd for CPUs: about 2 GMAC at 256x256 (docs/notes/efficientad-n.md)."""

    size = "n"
    declared_options: ClassVar[Mapping[str, Option]] = _number_options(_OUR_MAP)
    recipe = Recipe(
        steps=6_000,
        cpu_steps=1_000,
        batch_size=4,
        learning_rate=1e-3,
        wants_penalty=True,
        reference="docs/notes/efficientad-n.md",
    )
