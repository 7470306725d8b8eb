"""What of a frame a detector judges, and at which scale: crop, mask, tiles.

One function makes the network's windows of a frame, one joins their maps. Training, teaching,
calibration, thresholds, evaluation and every runtime use both (docs/reference/view.md).
"""

from edgead.view.merge import merged
from edgead.view.request import ViewRequest
from edgead.view.view import View

__all__ = ["View", "ViewRequest", "merged"]
