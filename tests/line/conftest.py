from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _threads_meet(all_cores: None) -> None:
    """Camera, detector and outputs are threads of one process."""
