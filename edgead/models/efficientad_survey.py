"""The EfficientAd of a survey, built literally so that its figures can be measured.

It is not the paper's detector (:mod:`edgead.models.efficientad` is): its networks, losses and maps
differ, and no accuracy has been published for it. Where the survey's code leaves something open,
what was chosen here is said at the place.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgead.artifact.specs import MapSpec, TeacherSpec
from edgead.errors import UsageError
from edgead.models._augment import jitter_one
from edgead.models._maps import bilinear_matrix
from edgead.models.base import PhotoBatches
from edgead.models.gradient import GradientModel, Recipe, StepBatch
from edgead.models.options import OptionValue
from edgead.models.registry import register_model
from edgead.networks import pdn
from edgead.networks.inputs import IMAGENET_MEAN, to_network_input
from edgead.networks.resnet import take_centred_pixels
from edgead.teachers.pdn import load_pdn_teacher

CHANNELS = 384
_STRIDE = 16
_AUTOENCODER_LOSS = 0.5
_FUSION = (0.7, 0.3)  # student-teacher map, reconstruction map
_TUNING_RATE = 1e-4
_TEMPERATURE = 0.1
_PLACES = 64  # feature vectors of a photo that are told apart


class Autoencoder(nn.Module):
    """Reconstructs the photo: 331,075 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 4, 2, 1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct RGB ``[N, 3, H, W]`` in 0..1."""
        reconstructed: Tensor = self.decoder(self.encoder(images))
        return reconstructed


@register_model("efficientad-survey")
class EfficientAdSurvey(GradientModel):
    """EfficientAd as a survey describes it, for comparison only: 2.24 M parameters, 1.58 GMAC.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 16.

    Raises:
        UsageError: A side is not a multiple of 16.
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=10_000,
        cpu_steps=600,
        batch_size=8,
        learning_rate=1e-3,
        wants_penalty=False,
        reference="the survey names no number",
    )

    is_tuned: Tensor

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        for side in image_size:
            if side % _STRIDE or side < _STRIDE:
                lower = max(_STRIDE, side // _STRIDE * _STRIDE)
                raise UsageError(
                    f"{self.name} halves the image four times, so an image side of {side} pixels "
                    f"does not fit: use a multiple of {_STRIDE}, such as {lower} or "
                    f"{lower + _STRIDE}"
                )
        self.teacher_net = pdn.PDN("survey", CHANNELS, padding=True).requires_grad_(False)
        self.student = pdn.PDN("survey", CHANNELS, padding=True)
        self.autoencoder = Autoencoder()
        # A resumed training must not tune the teacher again.
        self.register_buffer("is_tuned", torch.zeros((), dtype=torch.bool))

    @property
    def map_spec(self) -> MapSpec:
        """A cell for each pixel."""
        height, width = self.image_size
        return MapSpec(height, width, 0.0, 0.0, float(height), float(width))

    def load_teacher(self, source: str | None) -> TeacherSpec:
        """Load the pretrained teacher, which the survey does not name and nobody publishes."""
        return load_pdn_teacher(self.teacher_net, "survey", source)

    def fit(self, batches: PhotoBatches) -> None:
        """Tune the teacher on the good photos: one pass of a contrastive loss.

        The survey names the loss and no more. Here two recoloured views of a photo should have
        similar features at the same place and different ones elsewhere (InfoNCE, van den Oord et
        al., 2018).
        """
        if self.is_tuned:
            return
        rng = np.random.default_rng(torch.initial_seed())
        self.teacher_net.requires_grad_(True)
        optimizer = torch.optim.Adam(self.teacher_net.parameters(), lr=_TUNING_RATE)
        for photos in batches():
            views = [
                self._teacher(to_network_input(jitter_one(photos, rng))).flatten(2)
                for _ in range(2)
            ]
            places = torch.from_numpy(rng.permutation(views[0].shape[2])[:_PLACES])
            first, second = (
                functional.normalize(view[:, :, places.to(view.device)], dim=1) for view in views
            )
            alike = torch.einsum("ncp,ncq->npq", first, second) / _TEMPERATURE
            same = torch.arange(alike.shape[1], device=alike.device).expand(len(alike), -1)
            loss = functional.cross_entropy(alike.transpose(1, 2), same)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.teacher_net.requires_grad_(False)
        self.is_tuned.fill_(True)

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam at a constant rate; the survey names no optimizer."""
        trained = [*self.student.parameters(), *self.autoencoder.parameters()]
        optimizer = torch.optim.Adam(trained, learning_rate)
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, 0)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Mean squared error to the teacher, and half of that of the reconstruction."""
        images = to_network_input(batch.photos)
        with torch.no_grad():
            target = self._teacher(images).float()
        found = self.student(images).relu().float()
        pixels = _rgb(batch.photos)
        reconstructed = self.autoencoder(pixels).float()
        return {
            "student": functional.mse_loss(found, target),
            "autoencoder": _AUTOENCODER_LOSS * functional.mse_loss(reconstructed, pixels),
        }

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: 0.7 of the features' distance and 0.3 of the reconstruction's."""
        images, pixels = to_network_input(photos), _rgb(photos)
        difference = self._teacher(images) - self.student(images).relu()
        features = functional.interpolate(
            difference.norm(dim=1)[:, None], self.image_size, mode="bilinear", align_corners=False
        )[:, 0]
        reconstruction = (pixels - self.autoencoder(pixels)).norm(dim=1)
        fused: Tensor = _FUSION[0] * features + _FUSION[1] * reconstruction
        return fused

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self)

    def _teacher(self, images: Tensor) -> Tensor:
        """Return the teacher's features; the survey's network ends with a ReLU."""
        features: Tensor = self.teacher_net(images).relu()
        return features


class _Deployed(nn.Module):
    """The exported graph: raw pixels in, pixel scaling and colour order folded."""

    mean_bgr: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, model: EfficientAdSurvey) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(model.teacher_net).cpu().float()
        self.student = copy.deepcopy(model.student).cpu().float()
        self.autoencoder = copy.deepcopy(model.autoencoder).cpu().float()
        for network in (self.teacher, self.student):
            take_centred_pixels(network.convolutions[0])
        first, last = self.autoencoder.encoder[0], self.autoencoder.decoder[-2]
        assert isinstance(first, nn.Conv2d)
        assert isinstance(last, nn.ConvTranspose2d)
        assert last.bias is not None
        with torch.no_grad():
            first.weight.copy_((first.weight / 255).flip(1))
            last.weight.copy_(last.weight.flip(1))
            last.bias.copy_(last.bias.flip(0))
        mean = torch.tensor(IMAGENET_MEAN) * 255
        self.register_buffer("mean_bgr", mean.flip(0).view(1, 3, 1, 1))
        height, width = model.image_size
        self.register_buffer("rows", bilinear_matrix(height // _STRIDE, height, False))
        self.register_buffer("columns", bilinear_matrix(width // _STRIDE, width, False).T)
        self.head = nn.Conv2d(2, 1, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(_FUSION).view(1, 2, 1, 1))
            assert self.head.bias is not None
            self.head.bias.zero_()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        pixels = image.permute(0, 3, 1, 2).float()
        x = pixels - self.mean_bgr
        difference = self.teacher(x).relu() - self.student(x).relu()
        features = self.rows @ difference.square().sum(1).sqrt() @ self.columns
        error = pixels / 255 - self.autoencoder(pixels)
        reconstruction = error.square().sum(1).sqrt()
        anomaly_map = self.head(torch.stack([features, reconstruction], 1)).squeeze(1)
        return anomaly_map, anomaly_map.amax(dim=(1, 2))


def _rgb(photos: Tensor) -> Tensor:
    """Turn uint8 ``[N, H, W, 3]`` BGR into float32 ``[N, 3, H, W]`` RGB in 0..1."""
    return photos.permute(0, 3, 1, 2).flip(1).float() / 255
