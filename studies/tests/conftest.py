"""The studies' tests use the product's small real things."""

from tests.conftest import dataset, exported, shared_dataset, trained_run  # noqa: F401
