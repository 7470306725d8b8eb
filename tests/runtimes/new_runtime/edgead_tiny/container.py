"""The format: an ``.npz`` archive with the colours of a good part, and its manifest beside it."""

from __future__ import annotations

from edgead.artifact import sidecar

CONTAINER = sidecar.container(".tiny", "tiny file", "copy both files again, or make it again")
