"""The studies' tests use the product's small real things."""

from tests.conftest import (  # noqa: F401
    dataset,
    exported,
    shared_dataset,
    tiny_artifact,
    trained_run,
)
