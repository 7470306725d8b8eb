"""Runs under the emulated Arm Python: teaches a detector with photos and writes it, FP32."""

import os
import sys
from pathlib import Path

import numpy as np

folder, cache, out = map(Path, sys.argv[1:])
os.environ["EDGEAD_CACHE"] = str(cache)  # the interpreter's own environment is empty

import edgead  # noqa: E402
from edgead.teaching import TeachOptions  # noqa: E402

frames = [np.load(path) for path in sorted(folder.glob("good-*.npy"))]
edgead.teach(frames, out, TeachOptions(image_size=(64, 64), coreset=100))
assert "torch" not in sys.modules
