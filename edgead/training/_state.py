"""Optimizer state as named tensors, so that a checkpoint needs no pickle."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the per-parameter state as ``"<index>/<name>"`` tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, entry in state.items()
        for name, value in entry.items()
    }


def restore(
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    tensors: dict[str, Tensor],
    step: int,
) -> None:
    """Bring a fresh optimizer and schedule to where they were after ``step`` iterations.

    Raises:
        ValueError: The tensors are those of another optimizer.
    """
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"there is no parameter '{index[:40]}'")
        if value.ndim > 0 and value.shape != parameters[int(index)].shape:
            raise ValueError(f"'{name[:80]}' has the shape {list(value.shape)}")
        state.setdefault(int(index), {})[key] = value
    full = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})
    # The schedules here are functions of the iteration; stepping them again is exact.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch asks for optimizer steps between, which were made
        for _ in range(step):
            schedule.step()
