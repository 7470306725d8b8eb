from __future__ import annotations

from studies import compression


def entry(precision: str, compressed: bool, gmac: float, auroc: float) -> dict[str, object]:
    return {
        "name": f"n-{precision}",
        "precision": precision,
        "compressed": compressed,
        "gmac": gmac,
        "size_bytes": int(1e6 * gmac),
        "image_auroc": auroc,
        "au_pro": None,
        "latency_ms": {"onnxruntime": 4 * gmac, "openvino": None},
    }


def test_ratios_compare_like_with_like() -> None:
    entries = [
        entry("fp32", False, 2.0, 0.9),
        entry("int8", False, 2.0, 0.9),
        entry("fp32", True, 0.5, 0.901),
        entry("int8", True, 0.4, 0.897),
    ]
    measured = {"files": entries, "refused": [], "seconds": 61.2}
    text = compression.tables({"runs/n-bottle": measured})
    assert "| n-bottle | fp32 | 0.25 | 0.25 | 0.25 | - | +0.10 points | - |" in text
    assert "| n-bottle | int8 | 0.20 | 0.20 | 0.20 | - | -0.30 points | - |" in text
    assert text.count("| n-bottle |") == 6
    assert "- n-bottle: the compressed export took 61 s" in text


def test_a_refused_file_has_no_ratio_but_its_reason_is_told() -> None:
    entries = [
        entry("fp32", False, 2.0, 0.9),
        entry("int8", False, 2.0, 0.9),
        entry("fp32", True, 0.5, 0.901),
    ]
    measured = {"files": entries, "refused": ["static INT8 was not written"], "seconds": 1.0}
    text = compression.tables({"runs/n-bottle": measured})
    ratios = text.split("Compressed over original")[1]
    assert ratios.count("| n-bottle |") == 1
    assert "- n-bottle: static INT8 was not written" in text
