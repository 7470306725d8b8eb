"""Backbones with ImageNet weights for detectors that are taught: files, graphs, no torch."""
