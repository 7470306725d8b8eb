"""Which runtimes there are, which work here, and which one to take."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgead import plugins
from edgead.artifact import Artifact
from edgead.errors import EdgeadError, RuntimeUnavailableError, UsageError
from edgead.runtimes.base import ContractError, Runtime, RuntimeOptions

ENTRY_POINT_GROUP = "edgead.runtimes"

# Not entry points of edgead's own package, which are missing where a checkout runs without being
# installed. Other packages register in the group, and cannot take a name that is here.
_BUILT_IN = {
    "onnxruntime": "edgead.runtimes.onnxruntime:OnnxRuntime",
    "openvino": "edgead.runtimes.openvino:OpenVinoRuntime",
    "tensorrt": "edgead.runtimes.tensorrt:TensorRT",
}


@dataclass(frozen=True)
class Selection:
    """An opened runtime, and why the others were passed over (name to sentence)."""

    runtime: Runtime
    passed_over: Mapping[str, str]


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the runtimes that can be imported, in the order for most files."""
    found = [name for name in _locations() if _broken(name) is None]
    return tuple(sorted(found, key=lambda name: -runtime_class(name).speed_rank))


def order(artifact: Artifact) -> tuple[str, ...]:
    """Return the names of all runtimes known here, in the order in which ``auto`` tries them.

    Runtimes that the manifest names for its threshold come first, then the faster ones.
    """
    quantization = artifact.manifest.quantization
    exact = quantization.runtimes if quantization is not None else ()

    def place(name: str) -> tuple[bool, int]:
        return bool(exact) and name not in exact, -runtime_class(name).speed_rank_for(artifact)

    return tuple(sorted(names(), key=place))


@functools.cache
def runtime_class(name: str) -> type[Runtime]:
    """Load a runtime's class by its name.

    Raises:
        UsageError: No runtime has that name.
        RuntimeUnavailableError: Its package cannot be imported.
    """
    locations = _locations()
    if name not in locations:
        raise UsageError(
            f"unknown runtime '{name}'; choose 'auto' or one of: {', '.join(sorted(locations))}"
        )
    where = locations[name]
    if isinstance(where, plugins.PluginError):
        raise RuntimeUnavailableError(f"the runtime '{name}' cannot be used: {where}") from where
    try:
        loaded = plugins.load(where)
    except plugins.PluginError as error:
        raise RuntimeUnavailableError(f"the runtime '{name}' ({where}) {error}") from error
    fault = _fault_of(loaded)
    if fault is not None:
        raise RuntimeUnavailableError(
            f"the runtime '{name}' ({where}) {fault}: upgrade its package, or remove it"
        )
    runtime: type[Runtime] = loaded
    return runtime


def _fault_of(found: Any) -> str | None:
    """Return why an object cannot be a runtime's class; ``None`` if it can."""
    if not (isinstance(found, type) and issubclass(found, Runtime)):
        return "is not a subclass of edgead.runtimes.Runtime"
    missing = set(getattr(found, "__abstractmethods__", ()))
    if not isinstance(getattr(found, "name", None), str):
        missing.add("name")
    if not isinstance(getattr(found, "speed_rank", None), int):
        missing.add("speed_rank")
    return f"lacks {', '.join(sorted(missing))}" if missing else None


def available() -> dict[str, str | None]:
    """Return every runtime with the reason why it cannot work here, or ``None`` if it can."""
    reasons = {name: _broken(name) for name in (*names(), *_locations())}
    return {name: why or runtime_class(name).unavailable() for name, why in reasons.items()}


def open_runtime(
    artifact: Artifact, name: str = "auto", options: RuntimeOptions | None = None
) -> Selection:
    """Open an artifact in a runtime.

    Args:
        artifact: The artifact to open.
        name: ``"auto"`` for the first of :func:`order` that can, or a runtime's name. A runtime
            asked for by name is used or it is an error: there is no fallback.
        options: Threads and the like.

    Returns:
        The opened runtime; the caller closes it.

    Raises:
        UsageError: No runtime has that name.
        RuntimeUnavailableError: It cannot work here or cannot open the artifact.
        ArtifactError: Its outputs are not those of its manifest, in any runtime that ran it.
    """
    if name != "auto":
        chosen = runtime_class(name)
        reason = chosen.refuses(artifact) or chosen.unavailable()
        if reason:
            raise RuntimeUnavailableError(
                f"the runtime '{name}' cannot open {artifact.path} here: {reason}"
            )
        runtime = chosen(artifact, options)
        runtime.open()
        return Selection(runtime, {})
    passed_over: dict[str, str] = {}
    failures: list[EdgeadError] = []
    for candidate in order(artifact):
        chosen = runtime_class(candidate)
        reason = chosen.refuses(artifact) or chosen.unavailable()
        if reason is None:
            runtime = chosen(artifact, options)
            try:
                runtime.open()
            except EdgeadError as error:
                failures.append(error)
                reason = str(error)
            else:
                return Selection(runtime, passed_over)
        passed_over[candidate] = reason
    if failures and all(isinstance(error, ContractError) for error in failures):
        raise failures[0]
    reasons = "; ".join(f"{key}: {reason}" for key, reason in passed_over.items())
    raise RuntimeUnavailableError(f"no runtime here can open {artifact.path}: {reasons}")


def working() -> dict[str, str | None]:
    """Return :func:`available`, each runtime imported: an installed one may miss a library."""
    states = available()
    return {
        name: runtime_class(name).broken() if reason is None else reason
        for name, reason in states.items()
    }


def _broken(name: str) -> str | None:
    """Say why another package's runtime cannot be imported; that must not stop the others."""
    try:
        runtime_class(name)
    except RuntimeUnavailableError as error:
        return str(error)
    return None


@functools.cache
def _locations() -> dict[str, str | plugins.PluginError]:
    """Return where each runtime is, or why packages that bring it cannot be used."""
    found: dict[str, str | plugins.PluginError] = {}
    for name, entries in plugins.points(ENTRY_POINT_GROUP).items():
        try:
            found[name] = plugins.location(entries)
        except plugins.PluginError as error:
            found[name] = error
    return {**found, **_BUILT_IN}
