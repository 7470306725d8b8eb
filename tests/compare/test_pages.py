"""The reports of a comparison whose names somebody else chose."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from edgead.compare import Constraints, markdown, recommend, webpage
from edgead.compare.comparison import Comparison, Machine
from edgead.compare.results import Detector, Latency, LeftOut, Variant
from edgead.markup import Html
from tests.documented import documented, keys
from tests.pages import HOSTILE, require_harmless_markdown, require_harmless_page


def _variant(precision: str, runtime: str, device: str) -> Variant:
    return Variant(
        f"{HOSTILE}{precision}",
        HOSTILE,
        precision + HOSTILE,
        runtime,
        device,
        HOSTILE,
        "0" * 64,
        1_000_000,
        image_auroc=0.9,
        latency=Latency(5.0, 6.0, 5.0, 9.0, 100, doubt=HOSTILE),
        note=HOSTILE,
    )


def _comparison() -> Comparison:
    variants = (
        _variant("fp32", HOSTILE, "here"),
        _variant("int8", "second" + HOSTILE, "here"),
        _variant("fp16", HOSTILE, HOSTILE),
    )
    detectors = tuple(
        Detector(v.detector, HOSTILE, HOSTILE, 1, 1.0, 5, 9, 1.0, HOSTILE, (HOSTILE,))
        for v in variants
    )
    limits = Constraints(device=HOSTILE)
    return Comparison(
        data=HOSTILE,
        photos={"train": 1, "good": 2, "defective": 3},
        machine=Machine(HOSTILE, 1, {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, (10, 10)),
        detectors=detectors,
        variants=variants,
        refused=(LeftOut(HOSTILE, HOSTILE),),
        left_out=(LeftOut(HOSTILE, HOSTILE),),
        remarks=(HOSTILE,),
        doubts=(HOSTILE,),
        constraints=limits,
        recommendation=recommend(variants, limits),
        command=HOSTILE,
    )


def test_every_key_of_the_json_file_is_documented() -> None:
    limits = Constraints(max_latency_ms=0.1, device="here")
    missed = dataclasses.replace(
        _comparison(), recommendation=recommend(_comparison().variants, limits)
    )
    assert missed.recommendation.misses
    written = json.loads(json.dumps([_comparison().to_json(), missed.to_json()]))
    found = set(keys(written, foreign=("runtimes", "unavailable")))
    assert found - documented("compare.json") == set()


def test_foreign_names_stay_text(tmp_path: Path) -> None:
    comparison = _comparison()
    assert comparison.recommendation.chosen is not None
    webpage.write(tmp_path / "a.html", comparison, Html())
    text = (tmp_path / "a.html").read_text()
    require_harmless_page(text)
    assert text.count("<svg") > 2
    require_harmless_markdown(markdown.document(comparison))
    nobody = dataclasses.replace(
        comparison, recommendation=recommend((), comparison.constraints), variants=()
    )
    require_harmless_markdown(markdown.document(nobody))
