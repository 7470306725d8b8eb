from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from edgead.artifact import ParitySpec
from edgead.errors import GateRefused, UsageError
from edgead.export.compress.search import SHARES, Rung, Search
from edgead.export.options import AUTO


@dataclass
class Plans:
    """Stands in for a compressor: plans end a little below what was asked for."""

    gmac: float = 10.0
    least_gmac: float = 1.0

    def compress(self, gmac: float) -> Any:
        return Made(gmac - 0.01)


@dataclass
class Made:
    gmac: float


def search(passes_from: float, **plans: float) -> Search:
    def judge(made: Any) -> Rung:
        refusal = None if made.gmac >= passes_from else "AUROC falls by 9.00 points"
        parity = ParitySpec("fp32", 1, 0.0, 0.0, 0.0, 0)
        return Rung(made.gmac, 1, 1.0, parity, refusal)

    return Search(Plans(**plans), judge)  # type: ignore[arg-type]


@pytest.mark.parametrize("passes_from", [0.0, 1.5, 2.3, 3.0, 5.0])
def test_auto_takes_the_smallest_that_passes(passes_from: float) -> None:
    found = search(passes_from).find(AUTO)
    passing = [10 * share - 0.01 for share in SHARES if 10 * share - 0.01 >= passes_from]
    assert found.gmac == pytest.approx(min(passing))


def test_auto_stops_at_what_can_be_left() -> None:
    assert search(0, least_gmac=3.0).find(AUTO).gmac == pytest.approx(3.29)


def test_nothing_passes() -> None:
    with pytest.raises(GateRefused, match=r"no compression passes .* --int8 without --compress"):
        search(9.0).find(AUTO)


def test_a_target_is_taken_or_the_nearest_named() -> None:
    assert search(2.0).find(4.0).gmac == pytest.approx(3.99)
    tried = search(3.0)
    with pytest.raises(
        GateRefused, match=r"falls by 9.00 points\); the nearest .* --compress 3.29"
    ):
        tried.find(2.0)
    assert [rung.refusal is None for _, rung in tried.tried] == [False, False, True]
    with pytest.raises(GateRefused, match=r"smallest possible network has 1 GMAC\)"):
        search(0).find(0.5)


def test_a_target_that_saves_nothing_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="has only 10 GMAC"):
        search(0).find(12.0)


def test_the_latency_decides_how_much_goes() -> None:
    """Here a GMAC takes 2 ms, and 3 ms go to everything else."""

    def timer(gmac: float) -> float:
        return 3 + 2 * gmac

    found = search(0).within(9.0, timer)
    assert timer(found.gmac) <= 9
    assert found.gmac == pytest.approx(3, rel=0.1)
    with pytest.raises(UsageError, match=r"takes 23 ms here without compression"):
        search(0).within(30.0, timer)
    with pytest.raises(GateRefused, match=r"smallest possible network, 1 of 10 GMAC, takes 5 ms"):
        search(0).within(4.0, timer)
    with pytest.raises(GateRefused, match=r"--max-latency 9 needs .*falls by 9.*nearest target"):
        search(4.0).within(9.0, timer)


def test_the_next_larger_one_is_taken_from_what_was_tried_or_made() -> None:
    tried = search(0)
    smallest = tried.find(AUTO)
    count = len(tried.tried)
    larger = tried.larger(smallest.gmac)
    assert larger is not None
    assert larger.gmac == pytest.approx(1.69)
    assert len(tried.tried) == count  # it was tried on the way down
    larger = tried.larger(2.39)
    assert larger is not None
    assert larger.gmac == pytest.approx(3.29)
    assert len(tried.tried) == count + 1
    assert tried.larger(5.99) is None
