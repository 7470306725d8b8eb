"""Distilling a teacher, a patch-description network or a ResNet-18, from a larger network.

The recipe is the paper's (Algorithm 3) with three changes that make it fit a CPU. The source
network's features are computed once a view and cached. A step learns from a window of each view,
without padding: a patch-description network is local, so a window's cells are those of the whole
view, and more different photos fit in a step of the same cost. Hidden layers are batch-normalised
while they learn (folded away at the end), which reaches the same error in fewer steps. A ResNet
learns from whole views through a 1x1 convolution on each of its three levels, which is thrown away
at the end.
"""

from __future__ import annotations

import datetime
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import edgead
from edgead import cpu, files, images, photo_files, tensor_files
from edgead.errors import DataError, EdgeadError, UsageError
from edgead.networks import pdn, resnet
from edgead.networks.inputs import channels_last, to_network_input
from edgead.networks.pdn import TEACHER_CHANNELS
from edgead.progress import progress
from edgead.teachers.changes import SIDE, Changes
from edgead.teachers.sources import Source, open_source
from edgead.training.device import launch

RESNET = "resnet18"
_RESNET_CELLS = 32
_CACHE_LIMIT = 16 << 30
_VALIDATION = 200
_STATISTICS = 400
_REPORT_EVERY = 250
_SOURCE_BATCH = 8
_WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class DistillConfig:
    """What to distil.

    Attributes:
        source: File of the source network, as :func:`~edgead.teachers.sources.open_source` takes
            it.
        images: Folder of photos of anything.
        size: ``"n"``, ``"s"``, ``"m"``, ``"survey"``, or ``"resnet18"``.
        steps: Iterations.
        batch_size: Views an iteration.
        window: Side in pixels of the square that an iteration takes from a view, for the networks
            that are local (``"n"``, ``"s"``, ``"m"``); the others take whole views.
        views: Crops of each photo: the centre, then random ones, flipped and changed at times.
        learning_rate: At its highest.
        seed: Of everything drawn.
        name: What the teacher is called in manifests.
        licence: What a user of the teacher must know.
        changes: Of the random crops.
    """

    source: Path
    images: Path
    size: str
    steps: int = 9_000
    batch_size: int = 20
    window: int = 160
    views: int = 2
    learning_rate: float = 2e-3
    seed: int = 0
    name: str = ""
    licence: str = "not stated by the person who distilled it"
    changes: Changes = field(default_factory=Changes)


def distill_teacher(config: DistillConfig, out: Path, device: str = "auto") -> float:
    """Distil a teacher and write it as safetensors (FP16), with its provenance inside.

    Args:
        config: What to distil.
        out: The file to write; ``out`` with the suffix ``.jsonl`` gets the validation errors.
        device: As lightning-fabric takes it.

    Returns:
        The share of the source features' variance that the teacher leaves unexplained, on photos
        that it has not learned from.

    Raises:
        UsageError: The source or the folder is missing, or ``out`` is not a .safetensors file.
        DataError: Too few photos.
        EdgeadError: The source network does not have the shape described, the loss became NaN, or
            another process writes into the folder of ``out``.
    """
    _check_out(out)
    paths = _usable(photo_files.find_and_report([config.images]), config)
    precision = "bf16-mixed" if cpu.has_bfloat16() or torch.cuda.is_available() else "32-true"
    _window_cells(config)
    fabric = launch(device, precision, devices=1)
    source = open_source(config.source, fabric.device)
    folder = out.resolve().parent
    with files.locked_folder(folder):
        with files.scratch_folder(folder) as scratch:
            views = _Views(paths, config, source, scratch)
            network, log = _fit(fabric, config, views)
        if isinstance(network, _ResNetPupil):
            state = network.trunk.state_dict()
        else:
            state = _without_batch_norm(network).state_dict()
        _write(out, state, config, len(paths), log)
    return float(log[-1]["validation"])


class _Views:
    """Crops of the photos with the source network's features on the teacher's cells."""

    def __init__(
        self, paths: list[Path], config: DistillConfig, source: Source, scratch: Path
    ) -> None:
        self._paths, self._config, self._source = paths, config, source
        probe = source.features(np.zeros((1, source.side, source.side, 3), np.uint8))
        self._to_cells = to_cells(config.size, probe.shape)
        cells = self._to_cells(probe).shape[2:]
        self.count = len(paths) * config.views
        shape = (self.count, TEACHER_CHANNELS, *cells)
        size = 2 * math.prod(shape)
        self._pixels: npt.NDArray[np.uint8] | None = None
        if size <= _CACHE_LIMIT:
            free = shutil.disk_usage(scratch).free
            if free < 1.1 * size:
                raise EdgeadError(
                    f"caching the source network's features takes {size / 1e9:.1f} GB, but "
                    f"{scratch.parent} has {free / 1e9:.1f} GB free: choose --out on another disk "
                    "or fewer --views"
                )
            self._cache = np.lib.format.open_memmap(
                scratch / "features.npy", "w+", np.float16, shape
            )
            self._pixels = np.lib.format.open_memmap(
                scratch / "views.npy", "w+", np.uint8, (self.count, SIDE, SIDE, 3)
            )
            starts = range(0, self.count, _SOURCE_BATCH)
            for start in progress(starts, total=len(starts), label="source features"):
                indices = range(start, min(start + _SOURCE_BATCH, self.count))
                crops = np.stack([self._crop(index) for index in indices])
                self._pixels[start : indices.stop] = _resized(crops, SIDE)
                self._cache[start : indices.stop] = self._to_cells(source.features(crops))

    def get(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return uint8 ``[N, 256, 256, 3]`` BGR views and float32 source features."""
        if self._pixels is not None:
            chosen, target = self._pixels[indices], self._cache[indices].astype(np.float32)
        else:
            crops = np.stack([self._crop(index) for index in indices])
            chosen, target = _resized(crops, SIDE), self._to_cells(self._source.features(crops))
        return torch.from_numpy(chosen), torch.from_numpy(target)

    def windows(self, indices: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a random window of each view, on whole cells, with its source features."""
        pixels, target = self.get(indices)
        side, cells = self._config.window, _window_cells(self._config)
        if not _is_local(self._config.size):
            return pixels, target
        cell = _cell_side(self._config.size)
        starts = rng.integers((SIDE - side) // cell + 1, size=(len(indices), 2)).tolist()
        return (
            torch.stack(
                [
                    view[row * cell : row * cell + side, column * cell : column * cell + side]
                    for view, (row, column) in zip(pixels, starts, strict=True)
                ]
            ),
            torch.stack(
                [
                    features[:, row : row + cells, column : column + cells]
                    for features, (row, column) in zip(target, starts, strict=True)
                ]
            ),
        )

    def _crop(self, index: int) -> npt.NDArray[np.uint8]:
        """Cut a view of the source's size."""
        side = self._source.side
        view, photo_index = divmod(index, len(self._paths))
        photo = shrunk(images.read_image(self._paths[photo_index]), side)
        if view == 0:
            return centre(photo, side)
        slack = photo.shape[0] - side, photo.shape[1] - side
        rng = np.random.default_rng([self._config.seed, 7, index])
        top, left = int(rng.integers(slack[0] + 1)), int(rng.integers(slack[1] + 1))
        crop = photo[top : top + side, left : left + side]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return self._config.changes.made(crop, rng)


def shrunk(photo: images.Image, side: int) -> images.Image:
    """Resize a photo until its shorter side is ``side`` pixels."""
    scale = side / min(photo.shape[:2])
    height, width = (max(side, round(pixels * scale)) for pixels in photo.shape[:2])
    return images.resize(photo, (height, width))


def centre(photo: images.Image, side: int) -> images.Image:
    """Cut a square of ``side`` pixels out of a photo's middle."""
    top, left = ((pixels - side) // 2 for pixels in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def _resized(views: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    return np.stack([images.resize(view, (side, side)) for view in views])


def _fit(
    fabric: Fabric, config: DistillConfig, views: _Views
) -> tuple[_ResNetPupil | nn.Sequential, list[dict[str, float]]]:
    torch.manual_seed(config.seed)
    per_view = views.count // config.views
    validation = list(range(per_view - _VALIDATION, per_view))  # centre crops of the last photos
    learned = [i for i in range(views.count) if i % per_view < per_view - _VALIDATION]
    mean, std = _statistics(views, learned[:_STATISTICS])
    mean, std = mean.to(fabric.device), std.to(fabric.device)
    pupil: _ResNetPupil | nn.Sequential = (
        _ResNetPupil() if config.size == RESNET else _with_batch_norm(config.size)
    )
    network = channels_last(pupil.to(fabric.device))
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)

    def normalised(pixels: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (
            to_network_input(pixels.to(fabric.device)),
            (target.to(fabric.device) - mean) / std,
        )

    log: list[dict[str, float]] = []
    order = _endless(learned, config.seed)
    rng = np.random.default_rng([config.seed, 10])
    for step in progress(range(config.steps), total=config.steps, label="distilling"):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps)
        chosen = [next(order) for _ in range(config.batch_size)]
        inputs, target = normalised(*views.windows(chosen, rng))
        loss = _errors(wrapped(inputs), target).mean()
        wrapped_optimizer.zero_grad()
        fabric.backward(loss)
        wrapped_optimizer.step()
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == config.steps:
            network.eval()
            errors = []
            with torch.no_grad():
                for start in range(0, len(validation), _SOURCE_BATCH):
                    inputs, target = normalised(
                        *views.get(validation[start : start + _SOURCE_BATCH])
                    )
                    errors += _errors(network(inputs), target).tolist()
            network.train()
            log.append({"step": step + 1, "validation": float(np.mean(errors))})
            if not math.isfinite(log[-1]["validation"]):
                raise EdgeadError(
                    f"the distillation diverged by step {step + 1}: use a lower --learning-rate"
                )
    return network.cpu().eval(), log


class _ResNetPupil(nn.Module):
    """A ResNet-18 trunk with a head on each level that speaks the source network's features."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet.Trunk(RESNET)
        channels = resnet.ARCHITECTURES[RESNET].channels
        self.heads = nn.ModuleList(nn.Conv2d(width, TEACHER_CHANNELS, 1) for width in channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Predict the source's features from each level, no finer than they are cached."""
        predicted = []
        for level, head in zip(self.trunk(images), self.heads, strict=True):
            finer = level.shape[-1] // _RESNET_CELLS
            pooled = nn.functional.avg_pool2d(level, finer) if finer > 1 else level
            predicted.append(head(pooled))
        return predicted


def _errors(predicted: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Mean squared error of each photo ``[N]``, averaged over the levels where there are some."""
    if isinstance(predicted, Tensor):
        return (predicted.float() - target).square().mean((1, 2, 3))
    errors = []
    for level in predicted:
        pooled = nn.functional.avg_pool2d(target, target.shape[-1] // level.shape[-1])
        errors.append((level.float() - pooled).square().mean((1, 2, 3)))
    return torch.stack(errors).mean(0)


def _statistics(views: _Views, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Channel mean and deviation of the source features (paper, Algorithm 3, lines 2-4)."""
    total = squares = torch.zeros(TEACHER_CHANNELS, dtype=torch.float64)
    count = 0
    for start in range(0, len(indices), 8):
        values = views.get(indices[start : start + 8])[1].double()
        total = total + values.sum((0, 2, 3))
        squares = squares + values.square().sum((0, 2, 3))
        count += values.numel() // TEACHER_CHANNELS
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-12).sqrt()
    return mean.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1)


def _endless(indices: list[int], seed: int) -> Iterator[int]:
    rng = np.random.default_rng([seed, 8])
    while True:
        yield from rng.permutation(indices).tolist()


def _schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then decay as a cosine to a hundredth."""
    return min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _described(config: DistillConfig) -> str:
    """Say how the random views were changed; there are none if each photo gives one view."""
    shares = asdict(config.changes).items()
    listed = ", ".join(f"{name} {100 * share:g} %" for name, share in shares)
    return f"; of the random ones {listed}" if config.views > 1 else ""


def _is_local(size: str) -> bool:
    """Whether a detector uses the teacher without padding, so that windows show all it sees."""
    return size in ("n", "s", "m")


def _cell_side(size: str) -> int:
    spec = pdn.map_spec(size, (SIDE, SIDE))
    return round((spec.bottom - spec.top) / spec.height)


def _window_cells(config: DistillConfig) -> int:
    """Return how many cells a side the teacher makes of a window.

    Raises:
        UsageError: The window is larger than a view or smaller than a patch.
    """
    if not _is_local(config.size):
        return 0
    if config.window > SIDE:
        raise UsageError(f"--window {config.window} is larger than a view, which is {SIDE} pixels")
    return pdn.map_spec(config.size, (config.window, config.window)).height


def _with_batch_norm(size: str) -> nn.Sequential:
    """Build the teacher with a batch normalisation behind each hidden convolution."""
    plain = pdn.PDN(size, TEACHER_CHANNELS, padding=not _is_local(size))
    last = plain.convolutions[-1]
    layers: list[nn.Module] = []
    for layer in plain.layers:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            if layer is not last:
                layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def _without_batch_norm(network: nn.Sequential) -> nn.Sequential:
    """Fold the batch normalisations into the convolutions before them, exactly."""
    folded: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            previous = folded[-1]
            assert isinstance(previous, nn.Conv2d)
            folded[-1] = torch.nn.utils.fusion.fuse_conv_bn_eval(previous, layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded)


def to_cells(size: str, source_shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return what brings the source's map to the teacher's cells: average, then cut the border."""
    if len(source_shape) != 4 or source_shape[1] != TEACHER_CHANNELS:
        raise EdgeadError(
            f"the source network gives an output of shape {list(source_shape)}, but a teacher "
            f"needs [N, {TEACHER_CHANNELS}, h, w]"
        )
    if size == RESNET:
        return _averaged(source_shape, _RESNET_CELLS)
    spec = pdn.map_spec(size, (SIDE, SIDE))
    cell = _cell_side(size)
    factor = round(cell / (SIDE / source_shape[2]))
    start, cells = 0, source_shape[2] // max(factor, 1)
    if _is_local(size):
        start, cells = round(spec.top / cell), spec.height
    if source_shape[2] * cell != SIDE * factor or source_shape[2] != source_shape[3]:
        raise EdgeadError(
            f"the source network's map is {source_shape[2]}x{source_shape[3]} for {SIDE}x{SIDE} "
            f"pixels, which does not divide into efficientad-{size}'s cells of {cell} pixels"
        )

    def grid(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        n, channels, height, width = features.shape
        pooled = features.reshape(
            n, channels, height // factor, factor, width // factor, factor
        ).mean((3, 5))
        return np.asarray(pooled[:, :, start : start + cells, start : start + cells], np.float32)

    return grid


def _averaged(source_shape: tuple[int, ...], cells: int) -> Callable[[Any], Any]:
    """Return what averages the source's map to ``cells`` a side."""
    side = source_shape[2]
    if side % cells or side != source_shape[3]:
        raise EdgeadError(
            f"the source network's map is {side}x{source_shape[3]}, which does not divide into the "
            f"{cells}x{cells} cells that a ResNet is distilled on"
        )

    def grid(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        n, channels = features.shape[:2]
        parts = features.reshape(n, channels, cells, side // cells, cells, side // cells)
        return np.asarray(parts.mean((3, 5)), np.float32)

    return grid


def _usable(paths: list[Path], config: DistillConfig) -> list[Path]:
    if len(paths) < 2 * _VALIDATION:
        raise DataError(
            f"{config.images} has {len(paths)} images, but distilling a teacher takes at least "
            f"{2 * _VALIDATION} ({_VALIDATION} of them only to measure the error)"
        )
    order = np.random.default_rng([config.seed, 9]).permutation(len(paths))
    return [paths[index] for index in order]


def _check_out(out: Path) -> None:
    """Refuse a name that ``--teacher`` would not read, before hours of work for it."""
    if out.suffix != ".safetensors":
        raise UsageError(f"a teacher's file is .safetensors, but --out is {out}: add that ending")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from error


def _write(
    out: Path,
    state: dict[str, Tensor],
    config: DistillConfig,
    photos: int,
    log: list[dict[str, float]],
) -> None:
    seen = f"windows of {config.window} px" if _is_local(config.size) else "views"
    metadata = {
        "name": config.name or f"edgead {config.size.upper()}",
        "model": config.size if config.size == RESNET else f"efficientad-{config.size}",
        "source": f"distilled from {config.source.name}",
        "source_sha256": files.sha256_file(config.source),
        "images": f"{photos} photos, {config.views} view(s) of each{_described(config)}",
        "recipe": (
            f"edgead {edgead.__version__}, {config.steps} steps of {config.batch_size} {seen}, "
            f"AdamW {config.learning_rate:g}, seed {config.seed}"
        ),
        "validation": f"{log[-1]['validation']:.4f} of the variance unexplained",
        "date": datetime.date.today().isoformat(),
        "licence": config.licence,
    }
    halves = {
        name: value.half().contiguous()
        for name, value in state.items()
        if value.is_floating_point()
    }
    files.write_bytes(out, tensor_files.packed(halves, metadata))

    files.write_text(out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))
