from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import tiny_model
from tests.fuzz import campaign
from tests.fuzz.mutation import mutate_bytes, mutate_json, mutate_protobuf

EVERY = {
    "an accident",
    "refusal of 100,000",
    "held",
    "of doing nothing",
    "of a processor",
    "process died",
}


def test_a_campaign_notices_every_kind_of_failure_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "MOST_SECONDS", 1.0)
    summary = campaign.run("faulty", range(30), seed=3, workers=2, out=tmp_path)
    said = [outcome.failure for outcome in summary.failures]
    assert {kind for kind in EVERY if any(kind in failure for failure in said)} == EVERY
    assert all(any(kind in failure for kind in EVERY) for failure in said)
    ended_well = [outcome for outcome in summary.outcomes if not outcome.failure]
    assert {outcome.accepted for outcome in ended_well} == {True, False}
    assert sorted(outcome.case for outcome in summary.outcomes) == list(range(30))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == sorted(f"faulty-3-{outcome.case}" for outcome in summary.failures)


def test_a_case_is_a_function_of_seed_and_number() -> None:
    data, value = tiny_model(), {"a": [1, 2.5, "x"], "b": {"c": None}}

    def mutants(seed: int, case: int) -> list[bytes]:
        rng = campaign.generator("artifacts", seed, case)
        return [mutate_bytes(rng, data), mutate_protobuf(rng, data), mutate_json(rng, value)]

    assert mutants(0, 5) == mutants(0, 5)
    assert mutants(0, 5) != mutants(0, 6)
    alone = [mutants(2, case) for case in range(300)]  # none leaves a trace in the next
    assert [mutants(2, case) for case in reversed(range(300))] == alone[::-1]
    assert mutants(0, 5) != mutants(1, 5)


def test_damage_is_damage_and_json_mostly_parses() -> None:
    data, value, parsed = tiny_model(), {"a": [1, 2.5, "x"], "b": {"c": None}}, 0
    for case in range(200):
        rng = campaign.generator("artifacts", 0, case)
        assert mutate_bytes(rng, data) != data
        assert mutate_protobuf(rng, data) != data
        try:
            json.loads(mutate_json(rng, value))
            parsed += 1
        except (ValueError, RecursionError):
            pass
    assert 60 < parsed < 190
