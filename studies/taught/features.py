"""Features of the backbone's stages for every photo of prepared sets, kept to compare heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import cpu, images
from edgead.backbones import lite, onnx_lite, weights
from edgead.progress import progress
from edgead.runtimes.onnxruntime.library import PROVIDER, load
from edgead.runtimes.onnxruntime.session import exact_options

STAGES = tuple(range(2, lite.STAGES))
Halves = npt.NDArray[np.float16]


def kept(prepared: Path, folder: Path) -> dict[int, tuple[list[str], Halves]]:
    """Return the photos' names and features of a set by stage, made where they are not there.

    Args:
        prepared: A prepared set.
        folder: Where features are kept: ``SET-STAGE.npy``, float16 ``[N, channels, h, w]``.
    """
    names = [
        path.relative_to(prepared).as_posix()
        for part in ("train", "test")
        for path in sorted((prepared / part).glob("*/*.png"))
    ]
    paths = {stage: folder / f"{prepared.name}-{stage}.npy" for stage in STAGES}
    if not all(path.is_file() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        found = _computed([prepared / name for name in names])
        for stage, path in paths.items():
            np.save(path, found[stage])
    return {stage: (names, np.load(path, mmap_mode="r")) for stage, path in paths.items()}


def _computed(paths: list[Path]) -> dict[int, Halves]:
    height, width = images.read_image(paths[0]).shape[:2]
    model = onnx_lite.stages(weights.load(), (height, width), STAGES[-1])
    options = exact_options(cpu.default_threads())
    session = load().InferenceSession(model.SerializeToString(), options, providers=[PROVIDER])
    wanted = [f"stage{stage}" for stage in STAGES]
    made: dict[int, Halves] = {}
    for index, path in enumerate(progress(paths, len(paths), "features")):
        found = session.run(wanted, {"image": images.read_image(path)[None]})
        for stage, values in zip(STAGES, found, strict=True):
            if stage not in made:
                made[stage] = np.empty((len(paths), *values.shape[1:]), np.float16)
            made[stage][index] = values[0]
    return made
