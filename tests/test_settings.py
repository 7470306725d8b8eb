from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from edgead import cpu
from edgead.artifact import Artifact
from edgead.errors import UsageError
from edgead.settings import Settings


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("device", "x" * 100_000, "was made on 'xxx"),
        ("runtime", "x" * 100_000, "a runtime name of 100,000 characters"),
        ("sha256", "x" * 100_000, "another export of the detector"),
        ("threads", "2", "'threads' of the wrong type"),
        ("schema", 2, "not a settings file of schema 1"),
    ],
)
def test_settings_of_somebody_else_are_refused_in_one_short_sentence(
    tiny_artifact: Callable[..., Artifact], key: str, value: object, why: str
) -> None:
    artifact = tiny_artifact()
    made = Settings("onnxruntime", 1, artifact.sha256, cpu.model_name(), 1.0)
    path = made.write(artifact.path)
    assert Settings.read(artifact.path, artifact.sha256) == made
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UsageError) as caught:
        Settings.read(artifact.path, artifact.sha256)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 700
