"""Containers: the kinds of file that hold a detector, found by suffix.

A file holds a network and its manifest. ONNX files (:mod:`edgead.artifact.sealed_onnx`) have the
manifest inside, TensorRT engines (:mod:`edgead.artifact.engine`) beside them. Another package
brings a container by an entry point in the group ``edgead.containers``, whose name is the suffix
without its dot. It is imported when a file with that suffix is opened, and never for another one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from edgead import plugins
from edgead.artifact.manifest import Manifest
from edgead.errors import ArtifactError

ENTRY_POINT_GROUP = "edgead.containers"

ONNX_SUFFIX = ".onnx"
"""Suffix of every exported model; files with unknown suffixes are read like it."""

_BUILT_IN = {
    ONNX_SUFFIX: "edgead.artifact.sealed_onnx:CONTAINER",
    ".engine": "edgead.artifact.engine:CONTAINER",
}


@dataclass(frozen=True)
class Container:
    """How files of one suffix are read and checked.

    Attributes:
        read: Takes the path and the whole content, checks both, and returns the manifest and the
            SHA-256 that its seal names; raises :class:`ArtifactError` for a damaged file.
        digest: Takes the path and the content, and returns the SHA-256 of what the seal covers.
    """

    read: Callable[[Path, bytes], tuple[Manifest, str]]
    digest: Callable[[Path, bytes], str]


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of all containers known here, lower case, ONNX first."""
    return tuple(dict.fromkeys((*_BUILT_IN, *_others())))


def is_known(path: Path) -> bool:
    """Whether a file has the suffix of a container."""
    suffix = path.suffix.lower()
    return suffix in _BUILT_IN or suffix in _others()


def container_of(path: Path) -> Container:
    """Return the container of a file; that of ONNX files for a suffix that is not known.

    Raises:
        ArtifactError: The package that brings it cannot be imported.
    """
    suffix = path.suffix.lower()
    # The entry points are asked last: looking through all packages takes longer than a file.
    return _load(suffix if is_known(path) else ONNX_SUFFIX)


@functools.cache
def _others() -> dict[str, tuple[EntryPoint, ...]]:
    found = plugins.points(ENTRY_POINT_GROUP)
    return {f".{name.lower()}": entries for name, entries in found.items()}


@functools.cache
def _load(suffix: str) -> Container:
    try:
        where = _BUILT_IN.get(suffix) or plugins.location(_others()[suffix])
    except plugins.PluginError as error:
        raise ArtifactError(f"files '*{suffix}' cannot be read: {error}") from error
    try:
        loaded = plugins.load(where)
    except plugins.PluginError as error:
        raise ArtifactError(f"the container {where} of '*{suffix}' {error}") from error
    if not isinstance(loaded, Container):
        raise ArtifactError(f"{where} is not a Container: upgrade the package that brings it")
    return loaded
