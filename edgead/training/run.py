"""The run folder: everything about one training, in open formats (JSON, JSONL, safetensors).

run.json                what was asked for, and which photos were held out
metrics.jsonl           losses, one line every few steps
checkpoint.safetensors  weights and optimizer state, while training goes on
model.safetensors       the finished detector's weights and buffers
manifest.json           the finished detector's manifest; its presence means "finished"
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgead import files
from edgead.artifact import Manifest
from edgead.errors import TrainingError, UsageError
from edgead.models import AnomalyModel, create_model
from edgead.models.registry import model_class
from edgead.training.config import TrainConfig

FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """The content of ``run.json``.

    Attributes:
        config: With every default resolved.
        photos_sha256: Digest of the training set's names and contents.
        held_out: Held-out good photos, as paths.
        teacher_sha256: Digest of the teacher file, or ``None`` for a detector without one.
        edgead_version: The version that trains.
    """

    config: TrainConfig
    photos_sha256: str
    held_out: tuple[Path, ...]
    teacher_sha256: str | None
    edgead_version: str


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood after ``step`` iterations."""

    step: int
    seconds: float
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


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
        """Return how long the training took; ``None`` where it has not finished."""
        with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
            last = json.loads(self.metrics_file.read_text().splitlines()[-1])
            return float(last["seconds"]) if last.get("finished") else None
        return None

    def write_record(self, record: RunRecord) -> None:
        """Write ``run.json``."""
        files.write_json(
            self._record_file,
            {
                "format": FORMAT,
                "edgead_version": record.edgead_version,
                "config": record.config.to_json(),
                "photos_sha256": record.photos_sha256,
                "teacher_sha256": record.teacher_sha256,
                "held_out": [str(path) for path in record.held_out],
            },
        )

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
        data = _read_json(self._record_file)
        try:
            if data["format"] != FORMAT:
                raise TrainingError(
                    f"{self._record_file} has format {data['format']} and this edgead reads "
                    f"{FORMAT}: use the edgead version that wrote it, or train again"
                )
            return RunRecord(
                config=TrainConfig.from_json(data["config"], str(self._record_file)),
                photos_sha256=data["photos_sha256"],
                held_out=tuple(Path(path) for path in data["held_out"]),
                teacher_sha256=data["teacher_sha256"],
                edgead_version=data["edgead_version"],
            )
        except (KeyError, TypeError) as error:
            raise TrainingError(
                f"{self._record_file} is damaged ({error!r}); train again into a new folder"
            ) from error

    @property
    def has_checkpoint(self) -> bool:
        """Whether a stopped training has got so far that it can go on from there."""
        return self._checkpoint_file.is_file()

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint."""
        tensors = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
        tensors |= {f"optimizer/{name}": value for name, value in checkpoint.optimizer.items()}
        metadata = {"step": str(checkpoint.step), "seconds": repr(checkpoint.seconds)}
        _save(self._checkpoint_file, tensors, metadata)

    def read_checkpoint(self) -> Checkpoint:
        """Read the checkpoint.

        Raises:
            TrainingError: There is none, or it is damaged.
        """
        tensors, metadata = _load(self._checkpoint_file)
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        return Checkpoint(int(metadata["step"]), float(metadata["seconds"]), **parts)

    def finish(self, model: AnomalyModel, manifest: Manifest) -> None:
        """Write the finished detector; the manifest last, because it means "finished"."""
        _save(self.model_file, model.state_dict(), {})
        manifest = manifest.replace(source_sha256=files.sha256_file(self.model_file))
        files.write_json(self._manifest_file, json.loads(manifest.to_json()))
        self._checkpoint_file.unlink(missing_ok=True)

    def read_manifest(self) -> Manifest:
        """Read the finished detector's manifest.

        Raises:
            UsageError: Not a run folder.
            TrainingError: The training has not finished; says how to go on.
            ArtifactError: The manifest is damaged.
        """
        record = self.read_record()
        if not self.is_finished:
            raise TrainingError(
                f"the training in {self.path} has not finished; go on with: edgead train "
                f"{record.config.data} --out {self.path} --resume"
            )
        return Manifest.from_json(self._manifest_file.read_text(), str(self._manifest_file))

    def load_model(self) -> tuple[AnomalyModel, Manifest]:
        """Rebuild the finished detector on the CPU.

        Raises:
            TrainingError: The training has not finished, or the weights are damaged.
        """
        manifest = self.read_manifest()
        if files.sha256_file(self.model_file) != manifest.source_sha256:
            raise TrainingError(
                f"{self.model_file} is not the file that {self._manifest_file} was written for "
                "(its sha256 differs): it was changed or damaged; copy the run again or train again"
            )
        tensors, _ = _load(self.model_file)
        options = model_class(manifest.model.name).recorded_options(manifest.model.options)
        model = create_model(manifest.model.name, manifest.input.size, **options)
        model.load_state_dict(tensors)
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}); train again into a new folder"
        ) from error
    if not isinstance(data, dict):
        raise TrainingError(f"{path} is damaged (not an object); train again into a new folder")
    return data


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    files.write_bytes(path, save(plain, metadata))


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            return {
                name: file.get_tensor(name) for name in list(file.keys())
            }, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is damaged ({error}); train again") from error
