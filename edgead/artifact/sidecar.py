"""Manifests that lie beside their file, in ``NAME.SUFFIX.json``.

For files that another program than edgead reads, too: a header inside them would break it. A
package that brings a container of its own uses :func:`container` and :func:`write`.

The sidecar is the manifest and two keys. ``content`` names the SHA-256 and the suffix of the file,
so that a file of another format or of another detector is refused; ``sha256`` is the seal, over
everything else in the sidecar.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files, strict_json
from edgead.artifact.containers import Container
from edgead.artifact.manifest import MOST_CHARACTERS, Manifest
from edgead.errors import ArtifactError
from edgead.strict_json import Source

_SEAL = "sha256"
_CONTENT = "content"


@dataclass(frozen=True)
class Form:
    """What differs between the formats that have a sidecar.

    Attributes:
        what: What the file is called in errors, such as ``"engine"``.
        digest: Takes the sidecar's path, its manifest and its JSON, and returns the SHA-256 of the
            file that it belongs to; raises :class:`ArtifactError` for a sidecar of another format.
        again: Returns what to do about a damaged pair; its manifest is ``None`` where it cannot be
            read.
    """

    what: str
    digest: Callable[[Path, Manifest, dict[str, Any]], str]
    again: Callable[[Manifest | None], str]


def container(suffix: str, what: str, again: str) -> Container:
    """Return the container of a format whose manifest lies beside the file.

    Args:
        suffix: Suffix of the file, such as ``".rknn"``.
        what: What the file is called in errors, such as ``"RKNN model"``.
        again: What to do about a damaged file, such as ``"copy both files again"``.
    """

    def digest(beside: Path, _: Manifest, content: dict[str, Any]) -> str:
        named = content.get(_CONTENT)
        if not isinstance(named, dict) or named.get("suffix") != suffix:
            raise ArtifactError(
                f"{beside} names no {suffix} file in '{_CONTENT}': it is the sidecar of another "
                f"format; {again}"
            )
        return str(named.get("sha256"))

    return container_in(Form(what, digest, lambda _: again))


def container_in(form: Form) -> Container:
    """Return the container of a form of sidecar."""
    return Container(
        read=lambda path, data: read(path, data, form),
        digest=lambda _, data: hashlib.sha256(data).hexdigest(),
    )


def path_beside(path: str | os.PathLike[str]) -> Path:
    """Return where the manifest of a file lies."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def read(path: Path, data: bytes, form: Form) -> tuple[Manifest, str]:
    """Read the manifest beside a file, and check both.

    Args:
        path: The file.
        data: Its content.
        form: Format of its sidecar.

    Returns:
        The manifest, and the file's SHA-256.

    Raises:
        ArtifactError: The sidecar is missing, damaged or changed, or is not that of this file.
    """
    beside = path_beside(path)
    text = _read_text(path, beside, form)
    manifest = Manifest.from_json(text, str(beside))
    content = strict_json.parse(text, Source(str(beside), ArtifactError, form.again(None)))
    named = form.digest(beside, manifest, content)
    again = form.again(manifest)
    seal = content.pop(_SEAL, None)
    found = _seal(content)
    if seal != found:
        raise ArtifactError(
            f"{beside} was changed by hand or damaged: its seal has sha256 {str(seal)[:12]}…, its "
            f"content {found[:12]}…; {again}"
        )
    found = hashlib.sha256(data).hexdigest()
    if found != named:
        raise ArtifactError(
            f"{path} is truncated, changed, or not the {form.what} of {beside.name}: the sidecar "
            f"has sha256 {named[:12]}…, the file {found[:12]}…; {again}"
        )
    return manifest, found


def write(path: str | os.PathLike[str], data: bytes, manifest: Manifest) -> None:
    """Write a file and its sidecar, for a container of :func:`container`.

    Args:
        path: The file's path; its suffix is the container's.
        data: The file's content.
        manifest: That of the artifact which it was made from, with what has changed.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    path = Path(path)
    named = {"suffix": path.suffix.lower(), "sha256": hashlib.sha256(data).hexdigest()}
    write_pair(path, data, manifest, {_CONTENT: named})


def write_pair(path: Path, data: bytes, manifest: Manifest, extra: dict[str, Any]) -> None:
    """Write a file and its sidecar, with further keys beside those of the manifest.

    Raises:
        ArtifactError: Reading would refuse the manifest; nothing is written.
    """
    beside = path_beside(path)
    Manifest.from_json(manifest.to_json(), str(beside))
    content = {**dataclasses.asdict(manifest), **extra}
    content[_SEAL] = _seal(content)
    # A crash in between leaves a pair whose hashes differ, which reading refuses.
    files.write_bytes(path, data)
    files.write_json(beside, content)


def _read_text(path: Path, beside: Path, form: Form) -> str:
    try:
        return files.read_regular(beside, MOST_CHARACTERS).decode("utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} needs its sidecar {beside.name} in the same folder: {form.again(None)}"
        ) from error
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{beside} is not text, so it is damaged: {form.again(None)}"
        ) from error
    except OSError as error:
        raise ArtifactError(f"cannot read {beside}: {error.strerror}") from error


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
