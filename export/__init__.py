"""Export: from a trained detector to the artifact that travels to the device."""

from edgead.export.pipeline import export_run

__all__ = ["export_run"]
