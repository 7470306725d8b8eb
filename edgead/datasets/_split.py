"""How many good photos are kept apart from those that a detector learns from."""

from __future__ import annotations

_SHARE = 0.1  # as in the reference implementation's split of MVTec AD's train folder
_FEW = 10  # small sets keep up to a quarter, so that the threshold has something


def held_out_count(photos: int) -> int:
    """Return how many photos become validation photos, which set the threshold.

    A tenth; of fewer than 100 photos ten, but never more than a quarter, and at least one.

    Example:
        >>> [held_out_count(photos) for photos in (8, 60, 200)]
        [2, 10, 20]
    """
    return max(round(_SHARE * photos), min(photos // 4, _FEW), 1)
