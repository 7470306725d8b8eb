"""A runtime as another package brings it: a format of its own, and NumPy to run it."""
