"""Containers: the kinds of file that hold a detector, found by suffix.

A file holds a network and its manifest. ONNX files (:mod:`edgead.artifact.sealed_onnx`) have the
manifest inside, TensorRT engines (:mod:`edgead.artifact.engine`) beside them. Another package
brings a container by an entry point in the group ``edgead.containers``, whose name is the suffix
without its dot. It is imported when a file with that suffix is opened, and never for another one.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

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
    location = _BUILT_IN.get(suffix) or _others().get(suffix) or _BUILT_IN[ONNX_SUFFIX]
    return _load(location)


@functools.cache
def _others() -> dict[str, str]:
    return {
        f".{point.name.lower()}": point.value for point in entry_points(group=ENTRY_POINT_GROUP)
    }


@functools.cache
def _load(location: str) -> Container:
    module, _, attribute = location.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ArtifactError(
            f"the container {location} cannot be imported ({error}): install the package that it "
            "comes with again, or remove it"
        ) from error
    if not isinstance(loaded, Container):
        raise ArtifactError(f"{location} is not a Container: upgrade the package that brings it")
    return loaded
