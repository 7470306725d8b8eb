"""What a teacher learns from: the features of a larger network, from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edgead import cpu
from edgead.artifact._onnx_file import NotOnnxError, has_external_data
from edgead.errors import EdgeadError, UsageError
from edgead.networks.inputs import channels_last, to_network_input
from edgead.networks.pdn import TEACHER_CHANNELS
from edgead.runtimes.onnxruntime.library import load
from edgead.teachers._weights import read_file
from edgead.teachers.backbones import load_wide_resnet

_ONNX_SIDE = 256
_WIDE_RESNET_SIDE = 512
_LEVEL_CHANNELS = 1024
_PATCH = 3

Features = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Source:
    """A network to learn from.

    Attributes:
        side: Pixels a side of the views that it describes.
        features: From views uint8 ``[N, side, side, 3]`` BGR to float32 ``[N, 384, h, w]``.
    """

    side: int
    features: Features


def open_source(path: Path, device: torch.device) -> Source:
    """Open a source network.

    Args:
        path: An ONNX file with one image input float32 ``[N, 3, 256, 256]`` RGB in 0..1 and one
            output float32 ``[N, 384, h, w]`` over the whole image, or the weights of a
            WideResNet-101-2 or WideResNet-50-2 with torchvision's or timm's names.
        device: Where a WideResNet computes.

    Raises:
        UsageError: There is no such file.
        EdgeadError: It cannot be loaded, or is another network.
    """
    if not path.is_file():
        raise UsageError(f"the source network {path} does not exist")
    if path.suffix.lower() == ".onnx":
        return Source(_ONNX_SIDE, _from_onnx(path))
    return Source(_WIDE_RESNET_SIDE, _from_wide_resnet(path, device))


def patch_features(finer: Tensor, coarser: Tensor) -> Tensor:
    """Describe the patches of two levels of a network in 384 values.

    Each cell's 3x3 neighbourhood is averaged to 1,024 values a level, the coarser level is enlarged
    to the finer one's cells, and both together are averaged to 384 values. PatchCore enlarges
    before it averages; the two commute, and this order works on a quarter of the positions.

    Source: Roth et al., CVPR 2022, section 3.1; EfficientAd, Algorithm 3, takes its targets so.

    Args:
        finer: Float32 ``[N, C, h, w]``.
        coarser: Float32 ``[N, C', h', w']``.

    Returns:
        Float32 ``[N, 384, h, w]``.
    """
    size = finer.shape[-2:]
    levels = [_pooled_patches(finer), _pooled_patches(coarser)]
    levels[1] = functional.interpolate(levels[1], size=size, mode="bilinear", align_corners=False)
    cells = torch.cat(levels, 1).flatten(2).transpose(1, 2)
    return _on_grid(functional.adaptive_avg_pool1d(cells, TEACHER_CHANNELS), size)


def _pooled_patches(level: Tensor) -> Tensor:
    """Average each cell's 3x3 neighbourhood of all channels to 1,024 values."""
    patches = functional.unfold(level, _PATCH, padding=_PATCH // 2).transpose(1, 2)
    pooled = functional.adaptive_avg_pool1d(patches, _LEVEL_CHANNELS)
    return _on_grid(pooled, level.shape[-2:])


def _on_grid(cells: Tensor, size: tuple[int, ...]) -> Tensor:
    """Lay ``[N, h * w, C]`` out as ``[N, C, h, w]``."""
    return cells.transpose(1, 2).reshape(len(cells), -1, *size)


def _from_wide_resnet(path: Path, device: torch.device) -> Features:
    trunk = channels_last(load_wide_resnet(path).eval().to(device))

    def features(views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        described = []
        with torch.no_grad():
            for view in views:  # one at a time: the patches of one take 230 MB
                pixels = torch.from_numpy(view[None]).to(device)
                _, second, third = trunk(to_network_input(pixels))
                described.append(patch_features(second, third).cpu().numpy())
        return np.concatenate(described)

    return features


def _from_onnx(path: Path) -> Features:
    data = read_file(path, "source network")
    try:
        is_whole = not has_external_data(data)
    except NotOnnxError as error:
        raise EdgeadError(f"the source network {path} is no ONNX file ({error})") from error
    if not is_whole:
        raise EdgeadError(
            f"the source network {path} keeps weights in another file (external data), which no "
            "checksum covers: store them inside of the model (onnx.save)"
        )
    onnxruntime = load()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu.default_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EdgeadError(
            f"ONNX Runtime cannot load the source network {path}: {str(error).splitlines()[0]}"
        ) from error
    name = session.get_inputs()[0].name

    def features(views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        rgb = np.ascontiguousarray(views[..., ::-1].transpose(0, 3, 1, 2), np.float32) / 255
        try:
            return np.asarray(session.run(None, {name: rgb})[0], np.float32)
        except Exception as error:
            raise EdgeadError(
                f"the source network {path} failed on float32 [N, 3, {_ONNX_SIDE}, {_ONNX_SIDE}] "
                f"images: {str(error).splitlines()[0]}"
            ) from error

    return features
