"""A finished comparison: everything that the reports are made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import edgead
from edgead.compare.recommend import Constraints, Recommendation
from edgead.compare.results import HERE, Detector, LeftOut, Variant, pareto_front
from edgead.compare.survey import decision_tree

SCHEMA = 1


@dataclass(frozen=True)
class Machine:
    """The machine of the measurement.

    Attributes:
        cpu: Name of the CPU.
        threads: Threads of one inference.
        runtimes: Version of each runtime used, by name.
        unavailable: Why the others were not used, by name.
        frame_size: ``(height, width)`` of the measured frames.
    """

    cpu: str
    threads: int
    runtimes: dict[str, str]
    unavailable: dict[str, str]
    frame_size: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """The content of a comparison report.

    Attributes:
        data: The data set's folder.
        photos: Numbers of photos: ``train``, ``good``, ``defective``.
        machine: This machine.
        detectors: The compared detectors, in the order given.
        variants: Every file in every runtime, and rows from other devices.
        refused: Precisions that did not pass the accuracy gate, or cannot be run here.
        left_out: Detectors that were not compared.
        remarks: Empty columns, uncertainty, warnings about the data.
        doubts: Reasons against all latencies, such as a busy machine.
        constraints: The user's limits.
        recommendation: The variant chosen within them.
        command: The command that repeats this comparison.
    """

    data: str
    photos: dict[str, int]
    machine: Machine
    detectors: tuple[Detector, ...]
    variants: tuple[Variant, ...]
    refused: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]
    constraints: Constraints
    recommendation: Recommendation
    command: str

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device with rows, this machine first."""
        return tuple(dict.fromkeys((HERE, *(variant.device for variant in self.variants))))

    def of(self, label: str, device: str = HERE) -> list[Variant]:
        """Return a detector's variants that were timed on a device, fastest first."""
        timed = [
            (v.latency.p50, index, v)
            for index, v in enumerate(self.variants)
            if v.detector == label and v.device == device and v.latency is not None
        ]
        return [variant for _, _, variant in sorted(timed, key=lambda entry: entry[:2])]

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on; null where a value does not apply."""
        fronts = [
            variant
            for device in self.devices
            for variant in pareto_front([v for v in self.variants if v.device == device])
        ]
        chosen, nearest = self.recommendation.chosen, self.recommendation.nearest
        return {
            "schema": SCHEMA,
            "edgead_version": edgead.__version__,
            "command": self.command,
            "data": {"folder": self.data, **self.photos},
            "machine": dataclasses.asdict(self.machine),
            "detectors": [dataclasses.asdict(detector) for detector in self.detectors],
            "variants": [
                {**variant.to_json(), "pareto": variant in fronts} for variant in self.variants
            ],
            "refused": [vars(entry) for entry in self.refused],
            "not_compared": [vars(entry) for entry in self.left_out],
            "remarks": list(self.remarks),
            "doubts": list(self.doubts),
            "constraints": vars(self.constraints),
            "recommendation": {
                "chosen": chosen and chosen.to_json(),
                "nearest": nearest and nearest.to_json(),
                "misses": [vars(miss) for miss in self.recommendation.misses],
                "reasons": list(self.recommendation.reasons),
            },
            "decision_tree": [
                vars(branch)
                for branch in decision_tree(self.variants, self.detectors, self.constraints.device)
            ],
        }
