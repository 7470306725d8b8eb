"""Taught detectors measured over sets, draws of photos, and numbers of photos (``__main__``)."""
