"""One detector's compression: observed once, then carried out for any target."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgead.artifact import CompressionSpec, Manifest
from edgead.calibration.photos import CalibrationPhotos
from edgead.export.compress import plan as plans
from edgead.export.compress.fit import PLACES, carry_out, outline
from edgead.export.compress.moments import Observed, observe
from edgead.export.compress.network import Network
from edgead.export.compress.photos import fitting_photos
from edgead.export.refit import refit_head


@dataclass(frozen=True, eq=False)
class Compressed:
    """A graph with fewer operations.

    Attributes:
        model: FP32 graph with edgead's contract, its head fitted again.
        spec: Description of the compression, for the manifest.
        gmac: Multiply-accumulates of one photo, in billions.
        parameters: Weights and biases.
    """

    model: onnx.ModelProto
    spec: CompressionSpec
    gmac: float
    parameters: int

    def described(self, manifest: Manifest) -> Manifest:
        """Return the original's manifest with what the compression changed."""
        return manifest.replace(
            model=manifest.model.replace(gmac=self.gmac, parameters=self.parameters),
            compression=self.spec,
        )


class Compressor:
    """A detector, and what its activations are on good and other pictures.

    Args:
        model: FP32 graph with edgead's contract.
        photos: Validation photos; never test photos.

    Raises:
        UsageError: The detector's map is not a sum of squared differences.
    """

    def __init__(self, model: onnx.ModelProto, photos: CalibrationPhotos) -> None:
        self._network = Network(model)
        self._photos = photos

    @property
    def original(self) -> onnx.ModelProto:
        """The graph that is compressed."""
        return self._network.model

    @property
    def gmac(self) -> float:
        """Billions of multiply-accumulates of the original."""
        return self._network.macs / 1e9

    @functools.cached_property
    def path(self) -> list[plans.Plan]:
        """Plans of fewer and fewer operations."""
        return list(plans.path(self._network, self._choices))

    @property
    def least_gmac(self) -> float:
        """The fewest operations that any plan leaves."""
        return self.path[-1].gmac

    def compress(self, gmac: float) -> Compressed:
        """Compress to a target.

        Args:
            gmac: Multiply-accumulates of one photo in billions, at most; at least
                :attr:`least_gmac`.
        """
        chosen = self._plan(gmac)
        changed = carry_out(self._network, chosen, self._choices, self._observed, self._fitting)
        made = Network(changed)
        spec = CompressionSpec(
            gmac_before=round(self.gmac, 4),
            parameters_before=self._network.parameters,
            predicted_loss=chosen.lost,
            directions=dict(chosen.directions),
            channels=dict(chosen.channels),
            ranks=dict(chosen.ranks),
            images=len(self._photos.good),
            images_sha256=self._photos.sha256,
        )
        fitted = refit_head(self._network.model, changed, self._photos.good)
        return Compressed(fitted, spec, round(made.macs / 1e9, 4), made.parameters)

    def outline(self, gmac: float) -> onnx.ModelProto:
        """Return a graph as fast as :meth:`compress` makes it, whose scores mean nothing."""
        return outline(self._network, self._plan(gmac))

    def _plan(self, gmac: float) -> plans.Plan:
        return next(plan for plan in self.path if plan.gmac <= gmac)

    @functools.cached_property
    def _fitting(self) -> list[npt.NDArray[np.uint8]]:
        return fitting_photos(self._photos)

    @functools.cached_property
    def _observed(self) -> Observed:
        return observe(self._network, list(self._network.convolutions), self._fitting, PLACES)

    @functools.cached_property
    def _choices(self) -> plans.Choices:
        return plans.choices(self._network, self._observed)
