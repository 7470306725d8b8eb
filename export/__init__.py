"""Export: from a trained detector to the artifact that travels to the device."""

from edgead.export.pipeline import ExportOptions, export

__all__ = ["ExportOptions", "export"]
