"""Reverse Distillation against its equations written a second time, and the reference table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from edgead.models import StepBatch, create_model
from edgead.models._maps import bilinear_matrix, gaussian_matrix
from edgead.models.reverse_distillation import ReverseDistillationBase
from edgead.networks.cost import count_macs, parameter_count
from tests.models import reference
from tests.models.reference import BLOCKS, State, network_input, photos

SIZE = (64, 96)


def model(
    name: str = "reverse-distillation-resnet18", **options: str | float
) -> ReverseDistillationBase:
    torch.manual_seed(0)
    made = create_model(name, SIZE, **options)
    assert isinstance(made, ReverseDistillationBase)
    reference.randomise(made)
    return made.eval()


def levels(
    made: ReverseDistillationBase, batch: torch.Tensor, training: bool = False
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Encoder and decoder features of each level, by the paper's figure 4."""
    s = State(made.state_dict())
    encoder = reference.trunk(s.at("teacher_net"), network_input(batch), made.architecture)

    def halve(at: State, index: int, x: torch.Tensor) -> torch.Tensor:
        x = functional.conv2d(x, at[f"{index}.weight"], stride=2, padding=1)
        return functional.relu(at.norm(str(index + 1), x, training))

    b = s.at("bottleneck")
    first = halve(b.at("fuse1"), 3, halve(b.at("fuse1"), 0, encoder[0]))
    second = halve(b.at("fuse2"), 0, encoder[1])
    joined = torch.cat([first, second, encoder[2]], 1)
    x = reference.stage(b.at("embed"), joined, made.embedding_blocks, 2, training=training)
    decoder = []
    for level, count in enumerate(BLOCKS[made.architecture]):
        at = s.at("decoder").at(f"layer{level + 1}")
        x = reference.stage(at, x, count, 2, transposed=True, training=training)
        decoder.append(x)
    return list(zip(encoder, decoder[::-1], strict=True))


@pytest.mark.parametrize(
    ("name", "encoder", "bottleneck", "decoder", "total", "gmac"),
    [
        ("reverse-distillation", 24_862_528, 58_885_120, 24_917_504, 108_665_152, 30.45),
        ("reverse-distillation-resnet18", 2_782_784, 11_680_000, 3_703_168, 18_165_952, 4.32),
    ],
)
def test_sizes_are_the_reference_tables(
    name: str, encoder: int, bottleneck: int, decoder: int, total: int, gmac: float
) -> None:
    made = create_model(name, (256, 256)).eval()
    assert isinstance(made, ReverseDistillationBase)
    assert parameter_count(made.teacher_net) == encoder
    assert parameter_count(made.bottleneck) == bottleneck
    assert parameter_count(made.decoder) == decoder
    assert parameter_count(made) == total
    # Every layer's work goes with the area, so a quarter of the image is a quarter of the work.
    macs = 4 * count_macs(
        create_model(name, (128, 128)).eval(), torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    )
    assert macs / 1e9 == pytest.approx(gmac, abs=0.01)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "l2"),
    [
        ("reverse-distillation-resnet18", 0.0),
        ("reverse-distillation-resnet18", 0.1),
        pytest.param("reverse-distillation", 0.1, marks=pytest.mark.slow),
    ],
)
def test_the_map_is_the_papers_and_the_exported_graph_gives_it_too(name: str, l2: float) -> None:
    made, batch = model(name, l2=l2), photos(2, SIZE)
    expected = np.zeros((2, *SIZE))
    for target, found in levels(made, batch):
        level = 1 - functional.cosine_similarity(target, found)
        level = level + l2 * torch.linalg.vector_norm(found - target, dim=1)
        expected += functional.interpolate(
            level[:, None], SIZE, mode="bilinear", align_corners=True
        )[:, 0].numpy()
    expected = np.stack([gaussian_filter(entry, sigma=4) for entry in expected])
    np.testing.assert_allclose(made.anomaly_map(batch), expected, rtol=1e-3, atol=1e-4)
    anomaly_map, score = made.deployable()(batch)
    np.testing.assert_allclose(anomaly_map, made.anomaly_map(batch), rtol=1e-4, atol=1e-5)
    assert score.tolist() == anomaly_map.amax((1, 2)).tolist()


@pytest.mark.parametrize("loss", ["per-position", "flattened"])
def test_it_trains_on_the_papers_loss_or_the_official_codes(loss: str) -> None:
    made, batch = model(loss=loss, l2=0.1).train(), photos(4, SIZE)
    with torch.no_grad():
        expected, extra = [], 0.0
        for target, found in levels(made, batch, training=True):
            if loss == "per-position":
                distance = 1 - functional.cosine_similarity(target, found, dim=1)
            else:
                distance = 1 - functional.cosine_similarity(
                    target.reshape(4, -1), found.reshape(4, -1), dim=1
                )
            expected.append(float(distance.mean()))
            extra += 0.1 * float((found - target).square().mean())
    losses = made.training_losses(StepBatch(batch, [0, 1, 2, 3], None, np.random.default_rng(0)))
    assert [float(value.detach()) for value in losses.values()] == pytest.approx(
        [*expected, extra], rel=1e-4
    )
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for p in made.teacher_net.parameters())
    assert all(p.grad is not None for p in made.decoder.parameters())
    optimizer, _ = made.make_optimizer(10, 5e-3)
    assert optimizer.defaults["betas"] == (0.5, 0.999)


def test_bfloat16_leaves_the_loss_in_float() -> None:
    made, batch = model().train(), photos(4, SIZE)
    step = StepBatch(batch, [0, 1, 2, 3], None, np.random.default_rng(0))
    made.fit(lambda: iter([batch]))
    full = made.training_losses(step)
    with torch.autocast("cpu", torch.bfloat16):
        half = made.training_losses(step)
    for name, value in full.items():
        assert half[name].dtype == torch.float32
        assert float(half[name].detach()) == pytest.approx(float(value.detach()), rel=0.02)


@pytest.mark.parametrize("align", [False, True])
def test_enlarging_by_a_matrix_is_interpolation(align: bool) -> None:
    small = torch.rand(2, 1, 5, 9)
    large = bilinear_matrix(5, 37, align) @ small @ bilinear_matrix(9, 40, align).T
    expected = functional.interpolate(small, (37, 40), mode="bilinear", align_corners=align)
    torch.testing.assert_close(large, expected)


def test_smoothing_by_a_matrix_is_scipys() -> None:
    """On 20 pixels the kernel of 33 reaches over both ends and back."""
    image = np.random.default_rng(0).random((20, 70)).astype(np.float32)
    smoothed = gaussian_matrix(20, 4.0).numpy() @ image @ gaussian_matrix(70, 4.0).numpy().T
    np.testing.assert_allclose(smoothed, gaussian_filter(image, 4), rtol=1e-5, atol=1e-6)
