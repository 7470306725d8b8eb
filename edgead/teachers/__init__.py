"""Pretrained teachers: loading them, and distilling new ones. Needs torch."""
