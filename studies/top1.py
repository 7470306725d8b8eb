"""Top-1 accuracy of the backbone that detectors are taught with, on labelled ImageNet photos.

The classifier's end is computed in NumPy from the backbone's last stage: detectors do not use it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.backbones import lite, onnx_lite, safetensors, weights
from edgead.backbones.folding import folded
from edgead.progress import progress
from edgead.runtimes.onnxruntime.library import PROVIDER, load
from edgead.runtimes.onnxruntime.session import exact_options

SIDE, SHORTER = 224, 256
_CLASS = re.compile(r"n\d{8}")


def classes(stage: npt.NDArray[np.float32], arrays: safetensors.Arrays) -> npt.NDArray[np.int64]:
    """Return the class of each photo from the last stage, float32 ``[N, 320, h, w]``."""
    last = folded(arrays, "_conv_head", "_bn1", lite.EPSILON)
    found = np.einsum("nchw,oc->nohw", stage, last.weight[:, :, 0, 0])
    mean = np.clip(found + last.bias[:, None, None], 0, 6).mean((2, 3))
    return np.asarray((mean @ arrays["_fc.weight"].T + arrays["_fc.bias"]).argmax(1), np.int64)


def prepared(photo: images.Image) -> images.Image:
    """Return the middle 224x224 pixels of a photo whose shorter side has 256."""
    height, width = photo.shape[:2]
    scale = SHORTER / min(height, width)
    photo = images.resize(photo, (round(height * scale), round(width * scale)))
    top, left = ((side - SIDE) // 2 for side in photo.shape[:2])
    return photo[top : top + SIDE, left : left + SIDE]


def top1(photos: list[Path], synsets: list[str]) -> float:
    """Return the share of photos whose class, named in the file's name, is found."""
    arrays = weights.load()
    graph = onnx_lite.stages(arrays, (SIDE, SIDE), lite.STAGES - 1)
    session = load().InferenceSession(
        graph.SerializeToString(), exact_options(1), providers=[PROVIDER]
    )
    right = 0
    for path in progress(photos, total=len(photos), label="classifying"):
        batch = np.ascontiguousarray(prepared(images.read_image(path))[None])
        (stage,) = session.run([f"stage{lite.STAGES - 1}"], {"image": batch})
        named = _CLASS.search(path.name)
        assert named is not None
        right += int(classes(stage, arrays)[0] == synsets.index(named.group()))
    return right / len(photos)


def main() -> None:
    """Print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos with a WordNet id in the name")
    parser.add_argument("synsets", type=Path, help="the 1,000 WordNet ids in the order of classes")
    args = parser.parse_args()
    photos = sorted(path for path in args.photos.iterdir() if _CLASS.search(path.name))
    found = top1(photos, args.synsets.read_text().split())
    print(f"top-1 {found:.4f} of {len(photos)} photos")


if __name__ == "__main__":
    main()
