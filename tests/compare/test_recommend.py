from __future__ import annotations

import pytest

from edgead.compare import Constraints, recommend
from edgead.compare.results import Latency, Variant, pareto_front
from edgead.compare.survey import decision_tree
from edgead.errors import UsageError


def variant(
    detector: str,
    milliseconds: float,
    auroc: float | None,
    memory: float = 100.0,
    device: str = "here",
    precision: str = "fp32",
) -> Variant:
    latency = Latency(milliseconds, milliseconds * 1.1, milliseconds, milliseconds * 2, 100)
    return Variant(
        detector,
        detector,
        precision,
        "onnxruntime",
        device,
        f"exports/{detector}.onnx",
        "0" * 64,
        1_000_000,
        image_auroc=auroc,
        latency=latency,
        memory_mib=memory,
    )


FAST = variant("fast", 5.0, 0.95, 80)
MIDDLE = variant("middle", 20.0, 0.986, 150)
BEST = variant("best", 200.0, 0.990, 600)
ALL = [BEST, FAST, MIDDLE]


def test_without_limits_the_fastest_of_the_equally_accurate_is_taken() -> None:
    found = recommend(ALL, Constraints())
    assert found.chosen is MIDDLE  # within half a point of the best
    assert "best FP32 in onnxruntime has the highest image AUROC, 0.9900" in found.reasons[0]
    assert "10.0 times as long" in found.reasons[0]
    assert recommend([BEST, FAST], Constraints()).chosen is BEST


def test_a_limit_of_speed_takes_the_most_accurate_that_keeps_it() -> None:
    found = recommend(ALL, Constraints(max_latency_ms=50))
    assert found.chosen is MIDDLE
    # The 90th percentile is held against the limit, not the median.
    assert recommend(ALL, Constraints(max_latency_ms=21)).chosen is FAST
    assert recommend(ALL, Constraints(max_memory_mib=100)).chosen is FAST


def test_what_a_limit_costs_in_accuracy_is_said() -> None:
    found = recommend(ALL, Constraints(max_latency_ms=10))
    assert found.chosen is FAST
    assert "best FP32 in onnxruntime is more accurate (0.9900)" in found.reasons[-1]
    assert "latency is 220.0 ms, 210.0 ms above the limit of 10 ms" in found.reasons[-1]


def test_a_limit_of_accuracy_alone_takes_the_fastest_that_keeps_it() -> None:
    assert recommend(ALL, Constraints(min_auroc=0.94)).chosen is FAST
    assert recommend(ALL, Constraints(min_auroc=0.98)).chosen is MIDDLE
    assert recommend(ALL, Constraints(min_auroc=0.94, max_latency_ms=500)).chosen is MIDDLE


def test_limits_that_nothing_keeps_name_the_nearest_and_every_miss() -> None:
    found = recommend(ALL, Constraints(max_latency_ms=4, min_auroc=0.98))
    assert found.chosen is None
    assert found.nearest is FAST  # 38 % too slow and 2.5 times the error; the others are far slower
    assert [(miss.what, miss.found) for miss in found.misses] == [
        ("latency", pytest.approx(5.5)),
        ("image AUROC", 0.95),
    ]
    assert "0.0300 below the limit of 0.98" in found.reasons[0]
    assert "no variant is within that limit: the best latency is 5.5 ms" in found.reasons[1]


def test_without_labelled_defects_speed_decides_and_accuracy_stays_open() -> None:
    blind = [variant("a", 9.0, None), variant("b", 3.0, None)]
    found = recommend(blind, Constraints())
    assert found.chosen is blind[1]
    assert "accuracy is unknown" in found.reasons[0]
    found = recommend(blind, Constraints(min_auroc=0.9))
    assert found.chosen is None
    assert "image AUROC was not measured" in found.reasons[0]


def test_limits_hold_on_the_device_that_is_named() -> None:
    pi = [variant("best", 2000.0, 0.99, device="pi"), variant("fast", 40.0, 0.95, device="pi")]
    found = recommend([*ALL, *pi], Constraints(max_latency_ms=100, device="pi"))
    assert found.chosen is pi[1]
    assert "of the 2 variants measured on pi" in found.reasons[0]
    assert recommend(ALL, Constraints(device="pi")).chosen is None


@pytest.mark.parametrize(
    "limits", [{"max_latency_ms": 0.0}, {"max_memory_mib": -1.0}, {"min_auroc": 98.0}]
)
def test_limits_that_make_no_sense(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Constraints(**limits)  # type: ignore[arg-type]


def test_the_front_has_what_nothing_beats_in_both() -> None:
    beaten = variant("beaten", 30.0, 0.97)
    tie = variant("tie", 40.0, 0.986)
    assert pareto_front([tie, beaten, *ALL, variant("blind", 1.0, None)]) == [FAST, MIDDLE, BEST]


def test_the_decision_tree_is_answered_by_what_was_measured() -> None:
    answers = {branch.question: branch.measured for branch in decision_tree(ALL, [], "here")}
    assert answers["Is the highest accuracy a must?"].startswith("best: image AUROC 0.9900")
    assert answers["Must it run in real time?"].startswith("fast FP32 in onnxruntime: 5.0 ms")
    assert "30 or more: fast, middle" in answers["Must it run in real time?"]
    assert answers["Is balance wanted?"].startswith("middle")
    assert decision_tree(ALL, [], "pi") == []
