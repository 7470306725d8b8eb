"""Folders of photos: MVTec AD's layout, or a plain folder of good parts.

docs/reference/datasets.md has the rules.
"""

from edgead.datasets._copies import copies, identical
from edgead.datasets._dataset import FEWEST_TRAINING_PHOTOS, Dataset
from edgead.datasets._given import good_photos_in, refuse_test_folder
from edgead.datasets._masks import read_mask
from edgead.datasets._near_copies import NearCopy, near_copies
from edgead.datasets._photo import GOOD, Photo
from edgead.datasets._split import held_out_count

__all__ = [
    "FEWEST_TRAINING_PHOTOS",
    "GOOD",
    "Dataset",
    "NearCopy",
    "Photo",
    "copies",
    "good_photos_in",
    "held_out_count",
    "identical",
    "near_copies",
    "read_mask",
    "refuse_test_folder",
]
