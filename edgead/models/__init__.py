"""Detectors: their networks, their losses, and the graph that is exported. Needs torch.

One file a detector; a new one is registered by its decorator and imported in ``_FILES``.
"""

from edgead.models.base import AnomalyModel, StepBatch
from edgead.models.registry import create_model, model_names, register_model

__all__ = ["AnomalyModel", "StepBatch", "create_model", "model_names", "register_model"]
