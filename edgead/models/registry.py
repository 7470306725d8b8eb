"""Detectors by name."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TypeVar

from edgead.artifact.bounds import LARGEST_SIDE, NAME
from edgead.errors import UsageError
from edgead.models.base import AnomalyModel
from edgead.models.options import OptionValue

_FILES = (
    "edgead.models.efficientad",
    "edgead.models.efficientad_survey",
    "edgead.models.reverse_distillation",
    "edgead.models.stfpm",
)

_Model = TypeVar("_Model", bound=type[AnomalyModel])
_registry: dict[str, type[AnomalyModel]] = {}


def register_model(name: str) -> Callable[[_Model], _Model]:
    """Register a detector class under the name that ``--model`` takes.

    Example:
        >>> @register_model("my-detector")  # doctest: +SKIP
        ... class MyDetector(AnomalyModel): ...

    Raises:
        ValueError: The name is taken, or cannot be part of a file's name.
    """

    def register(model: _Model) -> _Model:
        if not NAME.fullmatch(name):
            raise ValueError(f"a model's name must match {NAME.pattern}, and {name!r} does not")
        if name in _registry:
            raise ValueError(f"a model named '{name}' is registered already")
        model.name = name
        _registry[name] = model
        return model

    return register


def model_names() -> tuple[str, ...]:
    """Return the names of all detectors."""
    _load()
    return tuple(sorted(_registry))


def model_class(name: str) -> type[AnomalyModel]:
    """Return a detector's class.

    Raises:
        UsageError: No detector has that name.
    """
    _load()
    if name not in _registry:
        raise UsageError(f"there is no model '{name}'; choose one of: {', '.join(model_names())}")
    return _registry[name]


def create_model(name: str, image_size: tuple[int, int], **options: OptionValue) -> AnomalyModel:
    """Build an untrained detector.

    Args:
        name: A registered name.
        image_size: ``(height, width)`` of the network's input in pixels.
        options: Values for what the detector declares in ``declared_options``.

    Raises:
        UsageError: No such name or option, or a size that the network cannot take.
    """
    chosen = model_class(name)
    if max(image_size) > LARGEST_SIDE:
        raise UsageError(
            f"an input of {image_size[0]}x{image_size[1]} px is too large: {LARGEST_SIDE} px a "
            "side are the most"
        )
    return chosen(image_size, **chosen.resolve_options(options))


@functools.cache
def _load() -> None:
    for module in _FILES:
        importlib.import_module(module)
