"""Detectors by name: those of edgead, and those that packages bring."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from edgead import plugins
from edgead.artifact.bounds import LARGEST_SIDE, NAME
from edgead.errors import UsageError
from edgead.models.base import AnomalyModel
from edgead.models.gradient import GradientModel, Recipe
from edgead.models.options import Choice, Number, OptionValue
from edgead.printable import printable
from edgead.teaching import DETECTORS as TAUGHT

ENTRY_POINT_GROUP = "edgead.models"
"""Packages bring detectors in it: the name that ``--model`` takes, and ``module:class``."""

_FILES = (
    "edgead.models.efficientad",
    "edgead.models.efficientad_lite",
    "edgead.models.efficientad_survey",
    "edgead.models.reverse_distillation",
    "edgead.models.reverse_distillation_lite",
    "edgead.models.stfpm",
    "edgead.models.stfpm_lite",
)

_Model = TypeVar("_Model", bound=type[AnomalyModel])
_registry: dict[str, type[AnomalyModel]] = {}


@dataclass(frozen=True)
class Unusable:
    """A detector of a package that cannot be used.

    Attributes:
        name: Of the entry point.
        reason: A sentence.
    """

    name: str
    reason: str


def register_model(name: str) -> Callable[[_Model], _Model]:
    """Register a detector class under the name that ``--model`` takes.

    A class of an entry point needs no decorator: it has the entry point's name.

    Example:
        >>> @register_model("my-detector")  # doctest: +SKIP
        ... class MyDetector(AnomalyModel): ...

    Raises:
        ValueError: The name is taken, or cannot be part of a file's name.
    """

    def register(model: _Model) -> _Model:
        if not NAME.fullmatch(name):
            raise ValueError(f"a model's name must match {NAME.pattern}, and {name!r} does not")
        if model.__module__ not in _FILES:
            _load_own()  # so that a name of edgead's own is refused here, and not at its first use
        if name in _registry or name in TAUGHT:
            raise ValueError(f"a model named '{name}' is registered already")
        model.name = name
        _registry[name] = model
        return model

    return register


def model_names() -> tuple[str, ...]:
    """Return the names of all detectors that can be used."""
    _load()
    return tuple(sorted(_registry))


def unusable_models() -> tuple[Unusable, ...]:
    """Return the detectors of packages that cannot be used, by name."""
    return _load()


def model_class(name: str) -> type[AnomalyModel]:
    """Return a detector's class.

    Raises:
        UsageError: No detector has that name, or the package that brings it is broken.
    """
    unusable = _load()
    if name in _registry:
        return _registry[name]
    for broken in unusable:
        if broken.name == name:
            raise UsageError(f"the model '{name}' cannot be used: {broken.reason}")
    raise UsageError(
        f"there is no model '{name}'; choose one of: {', '.join(model_names())}, or install the "
        "package that brings it"
    )


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


def _load_own() -> None:
    for module in _FILES:
        importlib.import_module(module)


@functools.cache
def _load() -> tuple[Unusable, ...]:
    """Register all detectors; return those of packages that cannot be."""
    _load_own()
    ours = {*_registry, *TAUGHT}  # what a file was made by is told by its name
    unusable = []
    for name, entries in plugins.points(ENTRY_POINT_GROUP).items():
        reason = _register_entry_point(name, entries, name in ours)
        if reason is not None:
            unusable.append(Unusable(printable(name), reason))
    return tuple(unusable)


def _register_entry_point(name: str, entries: tuple[EntryPoint, ...], is_ours: bool) -> str | None:
    """Register the detector that packages bring under a name, or say why it cannot be."""
    brought_by = plugins.brought_by(entries)
    if is_ours:
        return f"a detector of that name is there already, so the one of {brought_by} is not used"
    if not NAME.fullmatch(name):
        return f"its name in {brought_by} must match {NAME.pattern}"
    try:
        where = plugins.location(entries)
    except plugins.PluginError as error:
        return str(error)
    place = f"{printable(where)} of {brought_by}"
    try:
        found = plugins.load(where)
    except plugins.PluginError as error:
        return f"{place} {error}"
    fault = _fault_of(found, name)
    if fault is None and _registry.setdefault(name, found) is not found:
        fault = "is not the class that the package registers under that name"
    if fault is not None:
        return f"{place} {fault}"
    found.name = name
    return None


def _fault_of(found: Any, name: str) -> str | None:
    """Say why an object cannot be a detector's class."""
    if not (inspect.isclass(found) and issubclass(found, AnomalyModel)):
        return "is not a subclass of edgead.models.AnomalyModel"
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if issubclass(found, GradientModel) and not isinstance(getattr(found, "recipe", None), Recipe):
        missing.append("recipe")
    if missing:
        return f"lacks {', '.join(missing)}"
    options = found.declared_options
    values = options.values() if isinstance(options, Mapping) else [None]
    if not all(isinstance(option, (Choice, Number)) for option in values):
        return "declares an option that is neither a Choice nor a Number of edgead.models.options"
    registered = next((key for key, model in _registry.items() if model is found), name)
    return None if registered == name else f"is registered as '{registered}' already"
