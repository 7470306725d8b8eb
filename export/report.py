"""``report.json`` and ``report.md``: every variant that an export tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files, markdown, strict_json
from edgead.artifact import ParitySpec
from edgead.artifact.kinds import kind_of
from edgead.errors import UsageError
from edgead.export.compress.search import Rung
from edgead.printable import printable
from edgead.strict_json import Source

SCHEMA = 1
"""Schema number of ``report.json``; docs/reference/json.md has the keys."""


@dataclass(frozen=True)
class Variant:
    """One candidate of an export.

    Attributes:
        name: Model and precision.
        file: File name in the export folder, or ``None`` where it was refused.
        precision: ``"fp32"`` and so on.
        gmac: Multiply-accumulates of one image, in billions.
        parameters: Weights and biases.
        size_bytes: Size of the file.
        latency_ms: Median latency of one inference here; all variants were timed interleaved.
        speed_up: Latency of FP32 divided by this latency.
        runtime: The runtime of that measurement: the one that ``auto`` chooses here.
        score_diff_in_runtimes: Largest difference of a score from ONNX Runtime's in each other
            runtime that opens it here, as a share of the scores' range.
        parity: Comparison with the source of the export.
        image_auroc: On the labelled photos given, or ``None``.
        image_auroc_drop: Against FP32, in points; ``None`` without labelled photos.
        au_pro: On the labelled photos given, or ``None`` without masks.
        au_pro_drop: Against FP32, in points.
        accepted: Whether the file was put in place.
        reason: Why it was accepted or refused.
    """

    name: str
    file: str | None
    precision: str
    gmac: float
    parameters: int
    size_bytes: int
    latency_ms: float | None
    speed_up: float | None
    runtime: str
    score_diff_in_runtimes: dict[str, float]
    parity: ParitySpec
    image_auroc: float | None
    image_auroc_drop: float | None
    au_pro: float | None
    au_pro_drop: float | None
    accepted: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on."""
        return {
            "name": self.name,
            "file": self.file,
            "precision": self.precision,
            "gmac": self.gmac,
            "parameters": self.parameters,
            "size_bytes": self.size_bytes,
            "latency_ms": self.latency_ms,
            "speed_up": self.speed_up,
            "runtime": self.runtime,
            "score_diff_in_runtimes": self.score_diff_in_runtimes,
            "parity": {
                "max_score_diff": self.parity.max_score_diff,
                "max_score_diff_relative": self.parity.max_score_diff_relative,
                "mean_score_diff_relative": self.parity.mean_score_diff_relative,
                "rank_correlation": self.parity.rank_correlation,
                "max_map_diff": self.parity.max_map_diff,
                "label_flips": self.parity.label_flips,
                "images": self.parity.images,
            },
            "image_auroc": self.image_auroc,
            "image_auroc_drop": self.image_auroc_drop,
            "au_pro": self.au_pro,
            "au_pro_drop": self.au_pro_drop,
            "accepted": self.accepted,
            "reason": self.reason,
        }

    def replace(self, **changes: Any) -> Variant:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def recommended(variants: list[Variant]) -> Variant:
    """Return the fastest accepted variant of those measured here."""
    usable = [variant for variant in variants if variant.accepted and variant.latency_ms]
    return min(usable, key=lambda variant: variant.latency_ms or 0.0)


def say_what_is_slower(variants: list[Variant]) -> list[Variant]:
    """Mark the INT8 variants that are slower here than FP32, the first."""
    return [
        variant.replace(reason=f"{variant.reason}; smaller, but slower than FP32 here")
        if variant.accepted
        and kind_of(variant.precision).is_int8
        and variant.speed_up is not None
        and variant.speed_up < 1
        else variant
        for variant in variants
    ]


def keep_fastest_int8(variants: list[Variant]) -> list[Variant]:
    """Refuse every INT8 variant measured here except the fastest."""
    rivals = [
        variant
        for variant in variants
        if variant.accepted and variant.latency_ms and kind_of(variant.precision).is_int8
    ]
    if not rivals:
        return variants
    best = min(rivals, key=lambda variant: variant.latency_ms or 0.0)
    return [
        variant.replace(
            accepted=False, file=None, reason=f"passed the gate, but {best.name} is faster here"
        )
        if variant in rivals and variant is not best
        else variant
        for variant in variants
    ]


def table(variants: list[Variant]) -> str:
    """Return the variants as a text table."""
    rows = [
        (
            "variant",
            "GMAC",
            "M param.",
            "MB",
            "ms",
            "speed",
            "score diff",
            "rank corr.",
            "flips",
            "image AUROC",
            "AU-PRO",
            "verdict",
        )
    ]
    for variant in variants:
        parity = variant.parity
        rows.append(
            (
                variant.name,
                f"{variant.gmac:.3g}",
                f"{variant.parameters / 1e6:.3g}",
                f"{variant.size_bytes / 1e6:.2f}",
                "-" if variant.latency_ms is None else f"{variant.latency_ms:.2f}",
                "-" if variant.speed_up is None else f"{variant.speed_up:.2f}x",
                f"{parity.max_score_diff_relative:.1e}",
                "-" if parity.rank_correlation is None else f"{parity.rank_correlation:.4f}",
                f"{parity.label_flips}/{parity.images}",
                _figure(variant.image_auroc, variant.image_auroc_drop),
                _figure(variant.au_pro, variant.au_pro_drop),
                variant.reason if variant.accepted else f"not written: {variant.reason}",
            )
        )
    return _aligned(rows)


def ladder(rungs: Sequence[Rung]) -> str:
    """Return the compressions that were tried as a text table."""
    rows = [("GMAC", "M param.", "ms", "speed", "synthetic AUROC", "rank corr.", "flips", "gate")]
    for rung in sorted(rungs, key=lambda rung: -rung.gmac):
        correlation = rung.parity.rank_correlation
        rows.append(
            (
                f"{rung.gmac:.3g}",
                f"{rung.parameters / 1e6:.3g}",
                "-" if rung.latency_ms is None else f"{rung.latency_ms:.2f}",
                "-" if rung.speed_up is None else f"{rung.speed_up:.2f}x",
                f"{rung.synthetic_auroc:.4f}",
                "-" if correlation is None else f"{correlation:.4f}",
                f"{rung.parity.label_flips}/{rung.parity.images}",
                rung.refusal or "passed",
            )
        )
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@dataclass(frozen=True)
class Written:
    """One variant in ``report.json``.

    Attributes:
        precision: ``"fp32"`` and so on.
        accepted: Whether its file was written.
        file: Its name in the export folder; ``None`` where it was refused.
        reason: Why it was accepted or refused.
    """

    precision: str
    accepted: bool
    file: str | None
    reason: str


@dataclass(frozen=True)
class _Report:
    variants: tuple[Written, ...]


def read(folder: Path) -> tuple[Written, ...]:
    """Read what :func:`write` wrote into an export folder.

    Raises:
        UsageError: It is missing or damaged, or names a file elsewhere.
    """
    path = folder / "report.json"
    advice = f"remove {folder} and export again"
    source = Source(str(path), UsageError, advice)
    content = strict_json.read(path, UsageError, advice)
    variants = strict_json.build(_Report, content, source).variants
    for variant in variants:
        if variant.accepted and Path(variant.file or "").name != variant.file:
            source.fail(f"has the file name {variant.file!r}, which is not a plain name")
    return variants


def write(
    folder: Path,
    variants: list[Variant],
    next_command: str,
    engine: dict[str, Any] | None = None,
    rungs: Sequence[Rung] = (),
) -> None:
    """Write ``report.json`` and ``report.md``.

    Args:
        folder: The export folder.
        variants: What was exported.
        next_command: The command to run next.
        engine: Details of the build of a TensorRT engine.
        rungs: The compressions that were tried.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "variants": [variant.to_json() for variant in variants],
        "compression": [rung.to_json() for rung in rungs],
        "next": next_command,
    }
    if engine is not None:
        content["engine"] = engine
    files.write_json(folder / "report.json", content)
    text = f"""# Export report

```
{table(variants)}
```

- `ms`: median latency of one inference on this machine with {_runtimes(variants)}, the runtime that
  `auto` chooses here. All variants were timed interleaved, in one run. `speed` is relative to the
  first row. For another machine, run `edgead bench` there. The file for TensorRT is timed as an
  engine.
- `score diff`: largest difference between the score of the variant and the score of the file it was
  made from, as a share of the score range, on good validation photos and on the same photos with
  synthetic defects. `rank corr.`: Spearman's rank correlation of the same scores. `flips`: photos
  whose verdict changes; each variant has its own threshold.
- `image AUROC`, `AU-PRO`: on the labelled photos of `--validate`; in brackets the change from FP32
  in points (0.01).
{_compression(rungs)}
Next: {markdown.code(next_command)}
{_engine_section(engine) if engine else ""}"""
    files.write_text(folder / "report.md", text)


def _engine_section(engine: dict[str, Any]) -> str:
    layers = engine["layers"]
    gpu = markdown.plain(engine["gpu"])
    typing = "the graph's types" if engine["strongly_typed"] else "flags"
    rows = [
        (str(layer["name"]), str(layer["kind"]), ", ".join(map(str, layer["writes"])))
        for layer in layers
    ]
    return f"""
## {markdown.plain(engine["file"])}

Built by TensorRT {engine["tensorrt"]} on {gpu}; it runs only there. The time is measured with
TensorRT; `speed` is relative to the first row in ONNX Runtime on the CPU of this machine.

- built in {engine["build_seconds"]:.1f} s, timing cache {engine["timing_cache"]}
- compute capability {engine["compute_capability"]}, {engine["multiprocessors"]} multiprocessors,
  {engine["platform"]}
- workspace {engine["workspace_mib"]} of {engine["free_mib_before"]} MiB that were free
- precisions by {typing}

{markdown.table((f"layer ({len(layers)})", "kind", "writes"), rows)}
"""


def _runtimes(variants: list[Variant]) -> str:
    return " and ".join(dict.fromkeys(v.runtime for v in variants if v.latency_ms is not None))


def _compression(rungs: Sequence[Rung]) -> str:
    if not rungs:
        return ""
    return f"""
## Compressions tried

```
{ladder(rungs)}
```

Each in FP32, compared with the original, on good validation photos and the same photos with
synthetic defects. `speed` is relative to the original; all were timed interleaved, in one run.
"""


def _figure(value: float | None, drop: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" ({0.0 - drop:+.2f})" if drop else "")
