from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studies import quantization


def variant(precision: str, accepted: bool = True, **figures: Any) -> dict[str, Any]:
    known = {"image_auroc_drop": 0.0, "au_pro_drop": None, "size_bytes": 100, "latency_ms": 10.0}
    return {"precision": precision, "accepted": accepted, **known, **figures}


def test_the_summary_speaks_of_the_int8_that_was_kept() -> None:
    runs = {
        "runs/a": [
            variant("fp32"),
            variant("int8-dynamic", accepted=False, image_auroc_drop=9.0),
            variant("int8", image_auroc_drop=-0.1, au_pro_drop=0.2, size_bytes=26, latency_ms=4.0),
            variant("int8-tensorrt", image_auroc_drop=7.0, size_bytes=99),
        ],
        "runs/b": [variant("fp32"), variant("int8", image_auroc_drop=0.3, size_bytes=27)],
        "runs/c": [variant("fp32"), variant("int8", accepted=False, image_auroc_drop=5.0)],
    }
    assert quantization.summary(runs).splitlines() == [
        "Image AUROC of the chosen INT8 on 2 runs: mean +0.10, worst +0.30 points lost.",
        "AU-PRO of the chosen INT8 on 1 runs: mean +0.20, worst +0.20 points lost.",
        "At most 0.270 of FP32's size and 1.00 of its latency.",
        "No INT8 passed the gate for: c.",
    ]


def test_runs_of_one_name_would_overwrite_each_other(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        quantization.main([str(tmp_path), "x/run=data", "y/run=data"])
