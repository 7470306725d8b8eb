"""The ResNet-18 that earlier versions had in the package: what their runs still need of it."""

from __future__ import annotations

from edgead.artifact.specs import TeacherSpec

DISTILLED = "distilled"
"""What selected it, in place of a file; runs of earlier versions hold it."""

RESNET18 = TeacherSpec(
    name="edgead ResNet-18",
    source="distilled from teacher_s.onnx",
    licence="weights Apache-2.0 as this package; distilled from an Apache-2.0 network on CC0 and "
    "CC BY 4.0 photos",
    sha256="ab07e45edaac2a531a7b8f139f377de7b6815f3d7dc48a8dfc6541a98e233528",
    images="1000 photos, 1 view(s) of each",
    recipe="edgead 0.1.0, 600 steps of 10 views, AdamW 0.002, seed 0",
    validation="0.3567 of the variance unexplained",
    date="2026-11-26",
)
"""What its file said of itself, for trainings that go on with the weights of their checkpoint."""

GONE = "the distilled ResNet-18 of earlier versions is no longer in this package"

INSTEAD = "use --model reverse-distillation-lite0 or stfpm-lite0, or give a weights file"
