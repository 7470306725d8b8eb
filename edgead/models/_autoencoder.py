"""EfficientAd's autoencoder: it predicts the teacher's features from a 64-value bottleneck."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from edgead.errors import UsageError

_WIDTH = 64
_DROPOUT = 0.2

Size = tuple[int, int]


class PaperAutoencoder(nn.Module):
    """The paper's autoencoder (Table 7), no skip connections.

    Args:
        image_size: ``(height, width)``; at 256 the bottleneck is one position, larger images give
            a larger one.
        out_size: The teacher's map ``(height, width)``, 56x56 for 256x256.
        out_channels: The teacher's channels.

    Raises:
        UsageError: The image is below 256 pixels on a side.
    """

    def __init__(self, image_size: Size, out_size: Size, out_channels: int) -> None:
        super().__init__()
        if min(image_size) < 256:
            raise UsageError(
                f"an image size of {image_size[0]}x{image_size[1]} is too small for EfficientAd's "
                "autoencoder, whose last encoder layer needs 256 pixels on each side: use 256x256 "
                "or more, or efficientad-n, which takes smaller images"
            )
        channels = (3, 32, 32, _WIDTH, _WIDTH, _WIDTH)
        encoder: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            encoder += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        encoder.append(nn.Conv2d(_WIDTH, _WIDTH, 8))
        self.encoder = nn.Sequential(*encoder)
        self.steps = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 4, padding=2) for _ in range(6))
        # 3, 8, 15, 32, 63, 127 at 256, as the paper's table has them.
        height, width = image_size
        self.step_sizes = [
            (height // divisor - less, width // divisor - less)
            for divisor, less in ((64, 1), (32, 0), (16, 1), (8, 0), (4, 1), (2, 1))
        ]
        self.out_size = out_size
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, out_channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Predict teacher features: normalised ``[N, 3, H, W]`` to ``[N, C, h, w]``."""
        x = self.encoder(images)
        for size, convolution in zip(self.step_sizes, self.steps, strict=True):
            x = _upsample(x, size)
            x = self.dropout(functional.relu(convolution(x)))
        features: Tensor = self.head(_upsample(x, self.out_size))
        return features


class SmallAutoencoder(nn.Module):
    """The autoencoder of efficientad-n: the same idea in a tenth of the operations.

    Its convolutions are unpadded up to the bottleneck, so that the input's normalisation can be
    folded into the first one.

    Args:
        image_size: ``(height, width)``.
        out_size: The teacher's map ``(height, width)``.
        out_channels: The teacher's channels.

    Raises:
        UsageError: The image is too small for five halvings.
    """

    def __init__(self, image_size: Size, out_size: Size, out_channels: int) -> None:
        super().__init__()
        channels = (3, 32, 32, _WIDTH, _WIDTH, _WIDTH)
        encoder: list[nn.Module] = []
        sides = list(image_size)
        for before, after in itertools.pairwise(channels):
            encoder += [nn.Conv2d(before, after, 4, stride=2), nn.ReLU()]
            sides = [(side - 4) // 2 + 1 for side in sides]
        if min(sides) < 1:
            raise UsageError(
                f"an image size of {image_size[0]}x{image_size[1]} is too small for efficientad-n, "
                "whose autoencoder halves it five times: use at least 94 pixels on each side"
            )
        # One position at any image size: the bottleneck must see the whole part.
        encoder.append(nn.Conv2d(_WIDTH, _WIDTH, (sides[0], sides[1])))
        self.encoder = nn.Sequential(*encoder)
        self.steps = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(3))
        height, width = out_size
        self.step_sizes = [(-(-height // divisor), -(-width // divisor)) for divisor in (4, 2, 1)]
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Conv2d(_WIDTH, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Predict teacher features: normalised ``[N, 3, H, W]`` to ``[N, C, h, w]``."""
        x = self.encoder(images)
        for size, convolution in zip(self.step_sizes, self.steps, strict=True):
            x = self.dropout(functional.relu(convolution(_upsample(x, size))))
        features: Tensor = self.head(x)
        return features


class FeatureAutoencoder(nn.Module):
    """The autoencoder of efficientad-lite0: it reads the teacher's features, not the photo.

    Args:
        cells: ``(height, width)`` of the features.
        in_channels: Of the features that it reads.
        out_channels: Of each level that it predicts.
    """

    def __init__(self, cells: Size, in_channels: int, out_channels: tuple[int, ...]) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        for before in (in_channels, _WIDTH):
            encoder += [nn.Conv2d(before, _WIDTH, 3, stride=2, padding=1), nn.ReLU()]
        half, quarter = _halved(cells), _halved(_halved(cells))
        # One position at any image size: the bottleneck must see the whole part.
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(_WIDTH, _WIDTH, quarter))
        self.steps = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(3))
        self.step_sizes = [quarter, half, cells]
        self.heads = nn.ModuleList(nn.Conv2d(_WIDTH, channels, 1) for channels in out_channels)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Predict each level: standardised ``[N, C, h, w]`` to ``[N, C_l, h, w]``."""
        x = self.encoder(features)
        for size, convolution in zip(self.step_sizes, self.steps, strict=True):
            x = functional.relu(convolution(_upsample(x, size)))
        return [head(x) for head in self.heads]


def _halved(size: Size) -> Size:
    return -(-size[0] // 2), -(-size[1] // 2)


def _upsample(x: Tensor, size: Size) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
