"""Calibration: what is fitted on held-out good photos. Never on a test photo."""
