"""Commands that are killed at any moment, and what they leave behind.

``python -m tests.kill train --times 100`` kills a training so often and prints a summary.
"""
