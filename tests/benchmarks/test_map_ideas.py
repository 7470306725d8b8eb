from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgead.benchmarks import map_ideas, map_options
from edgead.models.efficientad import centred


def test_every_idea_is_in_the_table_and_the_first_is_what_the_detector_does(
    trained_run: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    pair = f"{trained_run}={shared_dataset}"
    assert map_ideas.main([str(tmp_path / "ideas"), pair]) == 0
    ideas = json.loads((tmp_path / "ideas/map_ideas.json").read_text())
    assert tuple(ideas) == map_ideas.IDEAS
    words = [str(tmp_path / "options"), pair, "--shares", "0.25", "--centrings", "0.5"]
    assert map_options.main(words) == 0
    options = json.loads((tmp_path / "options/map_options.json").read_text())
    assert ideas["as trained"] == options["0.25, 0.5, maximum"]


def test_maps_of_a_difference() -> None:
    rng = np.random.default_rng(0)
    difference = torch.from_numpy(rng.normal(size=(2, 4, 11, 12)).astype(np.float32))
    mixing = rng.normal(size=(4, 4))
    whitening = torch.from_numpy(np.linalg.inv(mixing @ mixing.T)).float()
    plain, over_mean, around, whitened = map_ideas._raw_maps(difference, whitening, 0.5)

    whole = difference - 0.5 * difference.mean((2, 3), keepdim=True)
    assert torch.allclose(plain, whole.square().mean(1), atol=1e-6)
    assert torch.allclose(over_mean[1], plain[1] / plain[1].mean().sqrt(), atol=1e-6)
    near = difference[0, :, :5, 3:12].mean((1, 2))  # of the cell in row 0, column 7
    assert around[0, 0, 7] == pytest.approx(
        float((difference[0, :, 0, 7] - 0.5 * near).square().mean()), rel=1e-5
    )
    vector = whole[0, :, 2, 3]
    assert whitened[0, 2, 3] == pytest.approx(float(vector @ whitening @ vector), rel=1e-4)


def test_a_photo_unlike_the_learned_ones_is_far_from_them() -> None:
    learned = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32) * [1, 10, 1]
    learned = learned.astype(np.float32)
    # The second feature varies most, so as large a change of it counts least.
    along, across = map_ideas._mahalanobis(np.float32([[0, 8, 0], [8, 0, 0]]), learned)
    assert along < 2 < across


def outputs(maps: np.ndarray, pooled: np.ndarray) -> map_ideas.Outputs:
    """Maps of one kind, the same for both differences."""
    kinds = len(map_ideas.RAW_MAPS)
    values = np.broadcast_to(maps[:, None, None], (len(maps), 2, kinds, *maps.shape[1:]))
    return map_ideas.Outputs(map_options.Maps(values.astype(np.float32)), np.float32(pooled))


def test_scores_beside_the_map() -> None:
    rng = np.random.default_rng(0)
    good, other = rng.normal(size=(2, 40, 6, 5))
    other[0, 2, 3] = 9
    features, strange = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    strange[1] = 9
    reference = outputs(good, features)
    kinds = [outputs(good, features), outputs(other, strange)]

    def scores(idea: str) -> np.ndarray:
        return map_ideas._scores(idea, 0.25, reference, kinds)[1]

    plain, by_place = scores("as trained"), scores("by place")
    assert plain.argmax() == 0
    assert plain[1:] == pytest.approx(
        (other[1:].max((1, 2)) - np.quantile(good, 0.9))
        / (np.quantile(good, 0.995) - np.quantile(good, 0.9)),
        rel=1e-4,
    )
    assert by_place == pytest.approx(((other - good.mean(0)) / good.std(0)).max((1, 2)), rel=1e-3)
    alone, half = scores("PUAD alone"), scores("PUAD, half")
    assert alone.argmax() == 1
    good_plain = map_ideas._scores("as trained", 0.25, reference, kinds)[0]
    standard = (plain - good_plain.mean()) / good_plain.std()
    assert half == pytest.approx((standard + alone) / 2, rel=1e-4)


def test_learned_photos_that_are_all_the_same_leave_finite_scores() -> None:
    same = outputs(np.ones((5, 6, 5)), np.ones((5, 4)))
    for idea in map_ideas.IDEAS:
        assert all(np.isfinite(each).all() for each in map_ideas._scores(idea, 0.25, same, [same]))


def test_whitening_makes_learned_differences_even(trained_run: Path) -> None:
    model, size = map_options.opened(str(trained_run))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    first, _ = map_ideas._covariances(model, pixels)
    with torch.inference_mode():
        difference = centred(model.differences(torch.from_numpy(pixels))[0], 0.5)
    rows = difference.movedim(1, -1).flatten(0, 2).double()
    torch.testing.assert_close(first, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-5)
    inverse = map_ideas._inverse(first).double()
    shrunk = 0.9 * first + 0.1 * first.diagonal().mean() * torch.eye(len(first)).double()
    torch.testing.assert_close(inverse @ shrunk, torch.eye(len(first)).double(), rtol=0, atol=1e-3)
