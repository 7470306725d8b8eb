"""Where a network is trained."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning_fabric import Fabric

from edgead import cpu
from edgead.errors import UsageError


def launch(device: str, precision: str, devices: int | str = "auto") -> Fabric:
    """Set up training on a device.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or what else lightning-fabric takes.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        devices: How many of them.

    Raises:
        UsageError: There is no such device here.
    """
    # It announces the precision on stderr; the progress lines are ours.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    literal: Any = precision  # lightning-fabric's type is a list of literals
    try:
        fabric = Fabric(accelerator=device, devices=devices, precision=literal)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"there is no '{device}' device here that torch {torch.__version__} can train on; "
            "leave --device out to choose automatically"
        ) from error
    fabric.launch()
    if fabric.device.type == "cpu":
        torch.set_num_threads(cpu.default_threads())
    return fabric
