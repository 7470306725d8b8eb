"""Options of an engine."""

from __future__ import annotations

from dataclasses import dataclass

from edgead.errors import UsageError

PRECISIONS = ("fp16", "int8", "fp32")
CALIBRATORS = ("entropy", "minmax")


@dataclass(frozen=True)
class EngineOptions:
    """Options of the build of an engine.

    Attributes:
        precision: ``"fp16"``, ``"int8"`` or ``"fp32"``.
        batch: Smallest batch, the one that kernels are tuned for, and the largest.
        workspace_mib: Most memory for a layer's scratch space; ``None`` for half of what is free,
            at most 1024.
        dla_core: Use this DLA core where layers allow it; ``None`` for the GPU alone.
        calibrator: TensorRT calibrator for INT8 from an FP32 artifact, which TensorRT
            11 no longer has; ``None`` for the Q/DQ graph, which every version accepts.
    """

    precision: str = "fp16"
    batch: tuple[int, int, int] = (1, 1, 8)
    workspace_mib: int | None = None
    dla_core: int | None = None
    calibrator: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"an engine has one of the precisions {', '.join(PRECISIONS)}, not "
                f"'{self.precision}'"
            )
        smallest, tuned, largest = self.batch
        if not 1 <= smallest <= tuned <= largest:
            raise UsageError(
                f"the batch sizes of an engine must be 1 <= min <= opt <= max, not {self.batch}"
            )
        if self.dla_core is not None and self.precision == "fp32":
            raise UsageError("a DLA supports FP16 and INT8 only: build with --tensorrt fp16")
        if self.calibrator is not None and self.precision != "int8":
            raise UsageError(
                "--tensorrt-calibrator applies to INT8 only: add --tensorrt int8, or leave it out"
            )
