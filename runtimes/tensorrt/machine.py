"""What an engine is bound to, and whether it is the same here."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from edgead.runtimes.tensorrt.device import Device


@dataclass(frozen=True)
class Machine:
    """TensorRT, GPU and platform of this machine.

    Attributes:
        tensorrt: Version, all four numbers.
        gpu: The driver's name for it. All of NVIDIA's Orin modules have the same.
        compute_capability: ``major.minor``.
        multiprocessors: Tells modules apart that share a name.
        platform: Such as ``linux-aarch64``.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    platform: str

    @classmethod
    def here(cls, trt: Any, device: Device) -> Machine:
        """Describe this machine."""
        major, minor = device.compute_capability
        return cls(
            str(trt.__version__),
            device.name,
            f"{major}.{minor}",
            device.multiprocessors,
            f"{platform.system()}-{platform.machine()}".lower(),
        )

    def differences(self, other: Any) -> list[str]:
        """Say in what ``other``, which has the same attributes, differs: theirs, then ours."""
        labels = {
            "tensorrt": "TensorRT",
            "platform": "platform",
            "compute_capability": "compute capability",
            "gpu": "GPU",
            "multiprocessors": "multiprocessors",
        }
        return [
            f"{label} {getattr(other, name)} (here {getattr(self, name)})"
            for name, label in labels.items()
            if getattr(other, name) != getattr(self, name)
        ]
