from __future__ import annotations

import pytest
import torch

from edgead.models import _feature_cache
from edgead.models._feature_cache import FeatureCache, PyramidCache


def test_what_does_not_fit_into_memory_comes_back_from_a_file() -> None:
    features = torch.randn(5, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    cache = FeatureCache((3, 2, 4), limit=2 * 2 * 24)  # two entries of 24 values
    cache.append(features[:3])
    cache.append(features[3:])
    assert cache._in_file == 3
    order = [4, 0, 3, 2, 1, 4]
    assert torch.equal(cache.get(order), features.half().float()[order])
    with pytest.raises(IndexError, match="photo 5"):
        cache.get([5])


def test_the_levels_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_feature_cache, "IN_MEMORY_LIMIT", 2 * 2 * 48)
    levels = [torch.ones(4, 3, 2, 4), torch.zeros(4, 3, 2, 4)]
    photos = torch.zeros(4, 1, 1, 3)
    alone = PyramidCache.of(lambda _: levels[:1], lambda: iter([photos]))
    both = PyramidCache.of(lambda _: levels, lambda: iter([photos]))
    assert [level._in_file for level in alone._levels] == [0]
    assert [level._in_file for level in both._levels] == [2, 2]
    assert torch.equal(both.get([3])[1], levels[1][3:])
