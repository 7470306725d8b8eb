"""Detectors compared on the user's own data and machine, with a recommendation and its reasons.

    plan → prepare (train or take, export) → accuracy, speed, elsewhere → recommend → reports

Needs the training install, and imports nothing of it before it runs.
"""

from edgead.compare.comparison import Comparison
from edgead.compare.plan import PRECISIONS, Plan
from edgead.compare.recommend import Constraints, Recommendation, recommend
from edgead.compare.run import compare

__all__ = [
    "PRECISIONS",
    "Comparison",
    "Constraints",
    "Plan",
    "Recommendation",
    "compare",
    "recommend",
]
