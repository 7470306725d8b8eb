"""What to export, and how strict to be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edgead.artifact.kinds import FP16, INT8, INT8_DYNAMIC, INT8_TENSORRT, Kind
from edgead.errors import UsageError

INT8_CHOICES = ("auto", "static", "dynamic")
AUTO = "auto"
"""In place of a number of GMAC: as few as pass the gate."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how strict to be.

    Attributes:
        fp16: Also write an FP16 graph.
        int8: ``"static"``, ``"dynamic"``, ``"auto"`` for the faster of the two that passes, or
            ``None``.
        tensorrt_int8: Also write the INT8 graph that TensorRT builds its engine from. It comes with
            static INT8, too, but only here is it an error when it is refused.
        calibration: Folder of good photos in place of the training's validation photos.
        calibrator: How ranges are chosen (``edgead.calibration.calibrators``).
        validate: Folder with labelled photos: accuracy before and after is measured on them.
        good: Names of folders of ``validate`` and ``calibration``, besides ``good``, that hold
            photos of good parts.
        max_drop: Largest loss of accuracy, in points of a hundred.
        compress: Compress first: to at most so many GMAC, ``"auto"`` for as few as pass the gate,
            or ``None``. The other kinds of file are then made from the compressed graph.
        max_latency: In place of ``compress``: compress until one inference takes at most so many
            milliseconds here, of the static INT8 file where INT8 is asked for, else of FP32.
    """

    fp16: bool = False
    int8: str | None = None
    tensorrt_int8: bool = False
    calibration: str | None = None
    calibrator: str = "minmax"
    validate: str | None = None
    good: tuple[str, ...] = ()
    max_drop: float = 0.5
    compress: float | str | None = None
    max_latency: float | None = None

    @property
    def is_compressing(self) -> bool:
        """Whether the detector is compressed first."""
        return self.compress is not None or self.max_latency is not None

    @property
    def makes_int8(self) -> bool:
        """Whether a static INT8 file for ONNX Runtime and OpenVINO is asked for."""
        return self.int8 in ("auto", "static")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of file that are made besides FP32, in the order of the report."""
        makes_static = self.makes_int8 or self.tensorrt_int8
        wanted = {
            FP16: self.fp16,
            INT8_DYNAMIC: self.int8 in ("auto", "dynamic"),
            INT8: makes_static,
            INT8_TENSORRT: makes_static,
        }
        return tuple(kind for kind, is_wanted in wanted.items() if is_wanted)

    def missing(self, accepted: Collection[str]) -> dict[str, set[str]]:
        """Return what was asked for of which no file was accepted, with the names of its kinds.

        Args:
            accepted: Names of the kinds of the files that were accepted.
        """
        asked = {
            "FP16": (self.fp16, {FP16.name}),
            "INT8": (self.int8 == "auto", {INT8.name, INT8_DYNAMIC.name}),
            "static INT8": (self.int8 == "static", {INT8.name}),
            "dynamic INT8": (self.int8 == "dynamic", {INT8_DYNAMIC.name}),
            "INT8 for TensorRT": (self.tensorrt_int8, {INT8_TENSORRT.name}),
        }
        return {
            what: names
            for what, (is_asked, names) in asked.items()
            if is_asked and not names & set(accepted)
        }

    def check(self) -> None:
        """Refuse values that there are not, and options that contradict each other.

        Raises:
            UsageError: Names them, or a value that there is not.
        """
        if self.int8 not in (None, *INT8_CHOICES):
            raise UsageError(
                f"there is no INT8 '{self.int8}'; choose one of: {', '.join(INT8_CHOICES)}"
            )
        if isinstance(self.compress, str) and self.compress != AUTO:
            raise UsageError(
                f"compress must be a number of GMAC or '{AUTO}', not '{self.compress}'"
            )
        if self.compress is not None and self.max_latency is not None:
            raise UsageError(
                "--compress GMAC and --max-latency both set the size of the network: leave one out"
            )
