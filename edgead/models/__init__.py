"""Detectors: their networks, how they learn, and the graph that is exported. Needs torch.

One file a detector, registered by its decorator and imported in ``registry._FILES``. A package
brings others by the entry-point group ``edgead.models`` (docs/how-to/add-a-detector.md).
"""

from edgead.models.base import AnomalyModel, PhotoBatches
from edgead.models.gradient import GradientModel, Recipe, StepBatch
from edgead.models.options import Choice, Number
from edgead.models.registry import create_model, model_names, register_model

__all__ = [
    "AnomalyModel",
    "Choice",
    "GradientModel",
    "Number",
    "PhotoBatches",
    "Recipe",
    "StepBatch",
    "create_model",
    "model_names",
    "register_model",
]
