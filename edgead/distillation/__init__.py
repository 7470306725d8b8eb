"""Distilling a teacher from a larger network (``edgead distill-teacher``). Needs torch."""

from edgead.distillation.config import DistillConfig
from edgead.distillation.distill import distill_teacher

__all__ = ["DistillConfig", "distill_teacher"]
