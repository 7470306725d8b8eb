"""Training a detector on photos of good parts. Needs torch (``pip install 'edgead[train]'``)."""

from edgead.training.config import TrainConfig
from edgead.training.run import Run
from edgead.training.trainer import train

__all__ = ["Run", "TrainConfig", "train"]
