"""The file that a distilled teacher travels in."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

import edgead
from edgead import files, tensor_files
from edgead.distillation.cells import is_local
from edgead.distillation.config import RESNET, DistillConfig
from edgead.errors import UsageError


def check_out(out: Path) -> None:
    """Refuse a name that ``--teacher`` would not read, before hours of work for it."""
    if out.suffix != ".safetensors":
        raise UsageError(f"a teacher's file is .safetensors, but --out is {out}: add that ending")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from error


def write(
    out: Path,
    state: dict[str, Tensor],
    config: DistillConfig,
    photos: int,
    log: list[dict[str, float]],
) -> None:
    """Write a teacher with its provenance, and the validation errors beside it.

    Args:
        out: The ``.safetensors`` file; the errors go to the same name with ``.jsonl``.
        state: The teacher's tensors; those of floats are stored as FP16.
        config: What it was made with.
        photos: How many photos it was made from.
        log: Validation errors by step, the last one at the end.
    """
    seen = f"windows of {config.window} px" if is_local(config.size) else "views"
    metadata = {
        "name": config.name or f"edgead {config.size.upper()}",
        "model": config.size if config.size == RESNET else f"efficientad-{config.size}",
        "source": f"distilled from {config.source.name}",
        "source_sha256": files.sha256_file(config.source),
        "images": f"{photos} photos, {config.views} view(s) of each{described(config)}",
        "recipe": (
            f"edgead {edgead.__version__}, {config.steps} steps of {config.batch_size} {seen}, "
            f"AdamW {config.learning_rate:g}, seed {config.seed}"
        ),
        "validation": f"{log[-1]['validation']:.4f} of the variance unexplained",
        "date": datetime.date.today().isoformat(),
        "licence": config.licence,
    }
    halves = {
        name: value.half().contiguous()
        for name, value in state.items()
        if value.is_floating_point()
    }
    files.write_bytes(out, tensor_files.packed(halves, metadata))
    files.write_text(out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))


def described(config: DistillConfig) -> str:
    """Say how the random views were changed; there are none if each photo gives one view."""
    shares = asdict(config.changes).items()
    listed = ", ".join(f"{name} {100 * share:g} %" for name, share in shares)
    return f"; of the random ones {listed}" if config.views > 1 else ""
