from __future__ import annotations

from multiprocessing import resource_tracker

import pytest


@pytest.fixture(scope="package", autouse=True)
def _resource_tracker() -> None:
    """Start the process that multiprocessing starts once and keeps; no test leaves it behind."""
    resource_tracker.ensure_running()
