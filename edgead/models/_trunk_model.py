"""What the detectors on a frozen ResNet have in common: its weights and its features."""

from __future__ import annotations

from torch import Tensor

from edgead.artifact.specs import TeacherSpec
from edgead.models._frozen_model import FrozenModel
from edgead.networks import resnet
from edgead.networks.inputs import to_network_input
from edgead.teachers.backbones import load_backbone


class TrunkModel(FrozenModel):
    """A detector that learns from the features of a frozen, pretrained ResNet."""

    teacher_net: resnet.Trunk

    def load_teacher(self, source: str | None) -> TeacherSpec | None:
        """Load the ResNet's pretrained weights."""
        return load_backbone(self.teacher_net, source)

    def features(self, photos: Tensor) -> list[Tensor]:
        """Return the pretrained network's three levels for uint8 ``[N, H, W, 3]`` BGR."""
        levels: list[Tensor] = self.teacher_net(to_network_input(photos))
        return levels
