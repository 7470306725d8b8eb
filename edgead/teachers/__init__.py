"""Pretrained weights: files of them, their checks, and loading them into networks. Needs torch."""
