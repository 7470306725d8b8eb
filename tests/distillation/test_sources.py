"""The networks that teachers learn from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from edgead.distillation import sources
from edgead.distillation.config import DistillConfig
from edgead.distillation.sources import Source, open_source
from edgead.distillation.views import Views
from edgead.errors import EdgeadError, UsageError
from edgead.networks import resnet
from edgead.networks.inputs import IMAGENET_MEAN, IMAGENET_STD
from tests.graphs import source_network

CPU = torch.device("cpu")


def patchcores(levels: list[torch.Tensor]) -> torch.Tensor:
    """PatchCore's order of things, as the paper describes it: enlarge every value of every patch,
    then average patch by patch, level by level, and over the levels."""
    height, width = levels[0].shape[-2:]
    described = []
    for level in levels:
        n, channels, h, w = level.shape
        patches = functional.unfold(level, 3, padding=1).view(n, channels * 9, h, w)
        patches = functional.interpolate(patches, (height, width), mode="bilinear")
        cells = patches.permute(0, 2, 3, 1).reshape(-1, 1, channels * 9)
        described.append(functional.adaptive_avg_pool1d(cells, 1024)[:, 0])
    both = torch.stack(described, 1).reshape(len(described[0]), 1, -1)
    pooled = functional.adaptive_avg_pool1d(both, 384)[:, 0]
    return pooled.view(-1, height, width, 384).permute(0, 3, 1, 2)


def test_patch_features_are_patchcores() -> None:
    generator = torch.Generator().manual_seed(0)
    finer = torch.randn(2, 136, 8, 6, generator=generator)
    coarser = torch.randn(2, 256, 4, 3, generator=generator)
    torch.testing.assert_close(
        sources.patch_features(finer, coarser), patchcores([finer, coarser]), rtol=1e-5, atol=1e-6
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the depth of the third stage, by which the two are told apart, and few of the rest."""
    for name, blocks in (("wide_resnet50_2", (1, 1, 6)), ("wide_resnet101_2", (1, 1, 23))):
        small = dataclasses.replace(resnet.ARCHITECTURES[name], blocks=blocks, width=4)
        monkeypatch.setitem(resnet.ARCHITECTURES, name, small)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["wide_resnet50_2", "wide_resnet101_2"])
def test_a_wide_resnets_weights_are_a_source(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trunk = resnet.Trunk(name).eval()
    torch.save(trunk.state_dict(), tmp_path / "weights.pth")
    source = open_source(tmp_path / "weights.pth", CPU)
    assert source.side == 512
    view = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    found = source.features(view)
    rgb = torch.from_numpy(view[..., ::-1].copy()).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        _, second, third = trunk.double()((rgb - mean) / std)
        expected = patchcores([second, third])
    assert found.shape == (1, 384, 64, 64)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_a_source_sees_the_view_at_its_own_size_and_the_teacher_at_256(tmp_path: Path) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (600, 700, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    seen = []

    def features(views: np.ndarray) -> np.ndarray:
        seen.append(views)
        return np.zeros((len(views), 384, 64, 64), np.float32)

    config = DistillConfig(tmp_path, tmp_path, "s", views=1)
    views = Views([tmp_path / "photo.png"], config, Source(512, features), tmp_path)
    pixels, _ = views.get([0])
    assert seen[-1].shape == (1, 512, 512, 3)
    expected = cv2.resize(seen[-1][0], (256, 256), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pixels[0].numpy(), expected)


def test_files_that_are_no_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights\.pth does not exist"):
        open_source(tmp_path / "weights.pth", CPU)
    torch.save(resnet.Trunk("resnet18").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(EdgeadError, match="does not fit wide_resnet50_2"):
        open_source(tmp_path / "weights.pth", CPU)
    (tmp_path / "network.onnx").write_bytes(b"no")
    with pytest.raises(EdgeadError, match=r"the source network .*network\.onnx is no ONNX file"):
        open_source(tmp_path / "network.onnx", CPU)
    network = source_network(tmp_path / "whole.onnx")
    onnx.save(
        onnx.load(network),
        tmp_path / "far.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(EdgeadError, match="external data"):
        open_source(tmp_path / "far.onnx", CPU)
