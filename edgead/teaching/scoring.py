"""Scores of frames in NumPy, as a device computes them: window by window, then joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgead.teaching import patchcore
from edgead.teaching.learner import Head
from edgead.teaching.patchcore import Design, Floats, Patches
from edgead.teaching.texture import Moments, Texture
from edgead.view import View


@dataclass(frozen=True)
class Scoring:
    """How vectors of a frame become its score.

    Attributes:
        design: What the graph is built of.
        view: What of a frame is judged.
    """

    design: Design
    view: View

    def score(self, patches: Patches, head: Head, texture: Texture) -> float:
        """Return the score of a frame.

        Args:
            patches: Of all its windows, one after the other.
            head: What the deep vectors are compared with.
            texture: Of the shallow ones.
        """
        if not self._needs_maps:
            return patchcore.score(patches.deep, head)
        maps = [
            patchcore.maps(window, head, texture, self.design) for window in self._each(patches)
        ]
        return self.view.join(np.stack(maps), self.design.map_spec)[1]

    def moments(self, patches: Patches) -> Moments:
        """Return mean and covariance of the shallow vectors that are judged."""
        judged = self.view.judged_cells_of_windows(self.design.map_spec)
        surface = patches.surface
        return Moments.of(surface if judged is None else surface[judged.ravel()])

    def kept(self, patches: Patches) -> Patches:
        """Return what :meth:`score` needs of them."""
        if not self._needs_maps:
            return Patches(patches.deep, np.zeros((0, 0), np.float32))
        return patches

    @property
    def _needs_maps(self) -> bool:
        return self.view.spec is not None or self.design.scope == patchcore.PLACE

    def _each(self, patches: Patches) -> list[Patches]:
        count = len(self.view.places)
        deep, surface = (_split(values, count) for values in (patches.deep, patches.surface))
        return [Patches(*both) for both in zip(deep, surface, strict=True)]


def _split(values: Floats, count: int) -> list[Floats]:
    return list(values.reshape(count, -1, values.shape[1]))
