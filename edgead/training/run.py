"""The run folder: everything about one training, in open formats (JSON, JSONL, safetensors).

run.json                what was asked for, and which photos were held out
metrics.jsonl           losses, one line every few steps
checkpoint.safetensors  weights and optimizer state, while training goes on
model.safetensors       the finished detector's weights and buffers
manifest.json           the finished detector's manifest; its presence means "finished"
failed.json             why the training ended without a detector, where it did

Each file but ``metrics.jsonl``, which nothing depends on, is checked before it is used: the JSON
files and the checkpoint carry a checksum and the run's own number, and the manifest the SHA-256 of
the weights. Runs of earlier versions carry the last alone, and are read as before.
"""

from __future__ import annotations

import json
import math
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgead import files, strict_json, tensor_files
from edgead.artifact import Manifest
from edgead.errors import TrainingError, UsageError
from edgead.models import AnomalyModel, create_model
from edgead.models.registry import model_class
from edgead.strict_json import Source
from edgead.training import _metrics, _run_files, _sealed_json
from edgead.training._run_files import COPY
from edgead.training.config import OF_STEPS, TrainConfig

FORMAT = 1

_AGAIN = "train again into a new folder"


@dataclass(frozen=True)
class RunRecord:
    """The content of ``run.json``.

    Attributes:
        config: With every default resolved.
        photos_sha256: Digest of the training set's names and contents.
        held_out: Held-out good photos, as paths.
        teacher_sha256: Digest of the teacher file, or ``None`` for a detector without one.
        edgead_version: The version that trains.
        run: What all files of the run carry, to be told from those of another; ``None`` in runs of
            earlier versions, of which only the weights are checked.
        held_out_sha256: Digest of each held-out photo; empty in runs of earlier versions.
    """

    config: TrainConfig
    photos_sha256: str
    held_out: tuple[Path, ...]
    teacher_sha256: str | None
    edgead_version: str
    run: str | None = None
    held_out_sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood after ``step`` iterations."""

    step: int
    seconds: float
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def new_run() -> str:
    """Return a number that no other run has."""
    return secrets.token_hex(16)


class Run:
    """A run folder on disk.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def metrics_file(self) -> Path:
        """Losses, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def model_file(self) -> Path:
        """Weights of the finished detector."""
        return self.path / "model.safetensors"

    @property
    def is_finished(self) -> bool:
        """Whether a training ended here."""
        return self._manifest_file.is_file()

    @property
    def exists(self) -> bool:
        """Whether a training was ever begun here."""
        return self._record_file.is_file()

    def training_seconds(self) -> float | None:
        """Return how long the training took; ``None`` where it has not finished.

        Raises:
            EdgeadError: The run's record or manifest is damaged.
        """
        if not self.is_finished:
            return None
        if self.read_record().run is None:
            lines = self.metrics()
            return _number(lines[-1], "seconds") if lines and lines[-1].get("finished") else None
        data, source = self._read_of_this_run(self._manifest_file, COPY)
        return strict_json.build(float, data.get("training_seconds"), source, "training_seconds")

    def metrics(self) -> list[dict[str, Any]]:
        """Read ``metrics.jsonl``; lines that a full disk or a power cut has torn are left out.

        Raises:
            TrainingError: It cannot be read.
        """
        return _metrics.read(self.metrics_file)

    def write_record(self, record: RunRecord) -> None:
        """Write ``run.json``."""
        content = {
            "format": FORMAT,
            "edgead_version": record.edgead_version,
            "config": record.config.to_json(),
            "photos_sha256": record.photos_sha256,
            "teacher_sha256": record.teacher_sha256,
            "held_out": [str(path) for path in record.held_out],
            "held_out_sha256": list(record.held_out_sha256),
        }
        files.write_json(self._record_file, _run_files.signed(content, record.run))

    def read_record(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            UsageError: The folder is not a run folder.
            TrainingError: The file is damaged or from another version.
        """
        if not self.exists:
            raise UsageError(
                f"{self.path} is not a run folder (it has no run.json); make one with: "
                f"edgead train DATA --out {self.path}"
            )
        source = Source(str(self._record_file), TrainingError, COPY)
        data = _run_files.read_object(self._record_file, source)
        if data.get("format") != FORMAT:
            raise TrainingError(
                f"{self._record_file} has format {str(data.get('format'))[:40]} and this edgead "
                f"reads {FORMAT}: use the edgead version that wrote it, or train again"
            )
        stored = strict_json.build(_Stored, data, source)
        if stored.run is not None:
            _sealed_json.check(data, source)
        config = TrainConfig.from_json(stored.config, source)
        if stored.held_out_sha256 and len(stored.held_out_sha256) != len(stored.held_out):
            source.fail(
                f"has {len(stored.held_out)} validation photos but {len(stored.held_out_sha256)} "
                "digests"
            )
        if any("\0" in path for path in stored.held_out):
            source.fail("has a zero in the name of a file")
        of_steps = {name: getattr(config, name) for name in OF_STEPS}
        if any(value is not None for value in of_steps.values()):  # none: it trains without steps
            for name, value in of_steps.items():
                if value is None:
                    source.fail(f"has no value of 'config.{name}'")
        return RunRecord(
            config=config,
            photos_sha256=stored.photos_sha256,
            held_out=tuple(map(Path, stored.held_out)),
            teacher_sha256=stored.teacher_sha256,
            edgead_version=stored.edgead_version,
            run=stored.run,
            held_out_sha256=stored.held_out_sha256,
        )

    @property
    def has_checkpoint(self) -> bool:
        """Whether a stopped training has got so far that it can go on from there."""
        return self._checkpoint_file.is_file()

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            EdgeadError: The run's record is damaged, or the checkpoint cannot be written.
        """
        tensors = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
        tensors |= {f"optimizer/{name}": value for name, value in checkpoint.optimizer.items()}
        metadata = {"step": str(checkpoint.step), "seconds": repr(checkpoint.seconds)}
        run = self.read_record().run
        if run is not None:
            metadata["run"] = run
        files.write_bytes(
            self._checkpoint_file, tensor_files.packed(_run_files.plain(tensors), metadata)
        )

    def read_checkpoint(self) -> Checkpoint:
        """Read the checkpoint.

        Raises:
            TrainingError: It is damaged, or another run's.
        """
        source = Source(
            str(self._checkpoint_file),
            TrainingError,
            "remove it, and --resume begins again at the first step",
        )
        record = self.read_record()
        file = _run_files.read_tensors(self._checkpoint_file, source)
        if file.metadata.get("run") != record.run:
            source.fail("is of another training than run.json beside it")
        if record.run is not None and not file.is_sealed:
            source.fail("carries no checksum")
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
        for name, value in file.tensors.items():
            part, _, key = name.partition("/")
            if part not in parts or not _run_files.is_finite(value):
                source.fail(f"is damaged (in the tensor '{name[:80]}')")
            parts[part][key] = value
        try:
            step, seconds = int(file.metadata["step"]), float(file.metadata["seconds"])
        except (KeyError, ValueError):
            source.fail("is damaged (in its step or its seconds)")
        steps = record.config.steps or 0
        if not (0 < step <= steps and 0 <= seconds < math.inf):
            source.fail(f"has {step} of {steps} steps in {seconds} s, which is impossible")
        return Checkpoint(step, seconds, **parts)

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint, where there is one."""
        self._checkpoint_file.unlink(missing_ok=True)

    def load_checkpoint_weights(self, model: AnomalyModel, checkpoint: Checkpoint) -> None:
        """Load a checkpoint's weights.

        Raises:
            TrainingError: They are another network's.
        """
        _run_files.load(model, checkpoint.weights, self._checkpoint_file)

    def finish(self, model: AnomalyModel, manifest: Manifest, seconds: float) -> None:
        """Write the finished detector; the manifest last, because it means "finished".

        Args:
            model: The detector.
            manifest: What it says of itself; the digest of the weights is filled in.
            seconds: Duration of the training.
        """
        from safetensors.torch import save

        run = self.read_record().run
        files.write_bytes(self.model_file, save(_run_files.plain(model.state_dict())))
        manifest = manifest.replace(source_sha256=files.sha256_file(self.model_file))
        content = {**json.loads(manifest.to_json()), "training_seconds": seconds}
        files.write_json(self._manifest_file, _run_files.signed(content, run))
        self.forget_checkpoint()

    def fail(self, reason: str) -> None:
        """Note that the training ended without a detector, and why."""
        content = {"reason": reason}
        files.write_json(self._failure_file, _run_files.signed(content, self.read_record().run))

    def failure(self) -> str | None:
        """Return why the training ended without a detector; ``None`` where it did not.

        Raises:
            TrainingError: The file is damaged.
        """
        if not self._failure_file.is_file():
            return None
        data, source = self._read_of_this_run(self._failure_file, _AGAIN)
        return strict_json.build(str, data.get("reason"), source, "reason")

    def read_manifest(self) -> Manifest:
        """Read the finished detector's manifest.

        Raises:
            UsageError: Not a run folder.
            TrainingError: The training has not finished, and how to go on; or the manifest is
                damaged, or another run's.
            ArtifactError: The manifest of a run of an earlier version is damaged.
        """
        record = self.read_record()
        if not self.is_finished:
            failure = self.failure()
            if failure is not None:
                raise TrainingError(f"there is no detector in {self.path}: {failure}")
            raise TrainingError(
                f"the training in {self.path} has not finished; continue with: "
                f"{self.resume_command(record.config.data)}"
            )
        data, _ = self._read_of_this_run(self._manifest_file, COPY)
        return Manifest.from_json(json.dumps(data), str(self._manifest_file))

    def resume_command(self, data: str) -> str:
        """Return the command that goes on with the training, for a shell."""
        return shlex.join(["edgead", "train", data, "--out", str(self.path), "--resume"])

    def load_model(self) -> tuple[AnomalyModel, Manifest]:
        """Rebuild the finished detector on the CPU.

        Raises:
            TrainingError: The training has not finished, or the weights are damaged.
        """
        manifest = self.read_manifest()
        source = Source(str(self.model_file), TrainingError, COPY)
        file = _run_files.read_tensors(self.model_file, source, manifest.source_sha256)
        options = model_class(manifest.model.name).recorded_options(manifest.model.options)
        model = create_model(manifest.model.name, manifest.input.size, **options)
        _run_files.load(model, file.tensors, self.model_file)
        return model.eval(), manifest

    @property
    def _record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def _manifest_file(self) -> Path:
        return self.path / "manifest.json"

    @property
    def _checkpoint_file(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def _failure_file(self) -> Path:
        return self.path / "failed.json"

    def _read_of_this_run(self, path: Path, advice: str) -> tuple[dict[str, Any], Source]:
        """Read a JSON file that must be whole and belong to ``run.json``."""
        run = self.read_record().run
        source = Source(str(path), TrainingError, advice)
        data = _run_files.read_object(path, source)
        if run is not None:
            _sealed_json.check(data, source)
        if data.get("run") != run:
            source.fail("is of another training than run.json beside it")
        return data, source


@dataclass(frozen=True)
class _Stored:
    """``run.json`` as it is written."""

    edgead_version: str
    config: dict[str, Any]
    photos_sha256: str
    teacher_sha256: str | None
    held_out: tuple[str, ...]
    run: str | None = None
    held_out_sha256: tuple[str, ...] = ()


def _number(line: Mapping[str, Any], key: str) -> float | None:
    value = line.get(key)
    return float(value) if isinstance(value, (int, float)) else None
