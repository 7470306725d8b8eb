from __future__ import annotations

import json
from pathlib import Path

from edgead.artifact import ParitySpec
from edgead.export import report
from edgead.export.compress.search import Rung
from edgead.export.report import Variant, keep_fastest_int8, recommended, say_what_is_slower
from tests.documented import documented, keys


def variant(precision: str, milliseconds: float | None) -> Variant:
    """Return a variant that passed the gate, beside an FP32 one of 10 ms."""
    return Variant(
        name=precision,
        file=f"{precision}.onnx",
        precision=precision,
        gmac=1.0,
        parameters=1,
        size_bytes=1,
        latency_ms=milliseconds,
        speed_up=10 / milliseconds if milliseconds else None,
        runtime="onnxruntime",
        score_diff_in_runtimes={},
        parity=ParitySpec("fp32", 1, 0.0, 0.0, 0.0, 0),
        image_auroc=None,
        image_auroc_drop=None,
        au_pro=None,
        au_pro_drop=None,
        accepted=True,
        reason="passed the gate",
    )


def test_of_two_kinds_of_int8_the_slower_is_refused_and_the_faster_named() -> None:
    fp32, static, dynamic = keep_fastest_int8(
        [variant("fp32", 10), variant("int8", 4), variant("int8-dynamic", 30)]
    )
    assert [v.file for v in (fp32, static, dynamic)] == ["fp32.onnx", "int8.onnx", None]
    assert "int8 is faster here" in dynamic.reason
    assert recommended([fp32, static, dynamic]) is static


def test_int8_that_is_slower_than_fp32_says_so() -> None:
    found = say_what_is_slower(
        [variant("fp32", 10), variant("int8", 4), variant("int8-dynamic", 30)]
    )
    found += say_what_is_slower([variant("int8-tensorrt", None)])
    says = [
        variant.precision
        for variant in found
        if "smaller, but slower than FP32 here" in variant.reason
    ]
    assert says == ["int8-dynamic"]
    assert all(variant.accepted for variant in found)


def test_every_key_of_the_json_file_is_documented(tmp_path: Path) -> None:
    rung = Rung(1.0, 1, 0.9, ParitySpec("fp32", 1, 0.0, 0.0, 0.0, 0), None)
    report.write(tmp_path, [variant("fp32", 10)], "edgead bench", rungs=[rung])
    written = json.loads((tmp_path / "report.json").read_text())
    assert set(keys(written)) - documented("report.json") == set()
