"""Experiments that feed the documentation; not installed. Run them from the repository's root."""
