"""What is killed: a small training, an export, a prediction; and what must hold afterwards.

Each job can be begun, begun again after a kill, and looked at: :meth:`check` after every kill,
:meth:`check_end` after a start that was left alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2

from edgead.artifact import read_artifact, write_artifact
from edgead.images import read_image
from tests.conftest import manifest_for, part, tiny_model, write_dataset, write_photo
from tests.kill import warm

_LEFT = (".new-", ".scratch-", ".export-", ".tmp")


class Job:
    """A command with the folder that it writes to.

    Attributes:
        folder: Everything of the job.
        out: What a kill may damage.
    """

    checkpoint_seconds: float | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"

    def prepare(self) -> None:
        """Make what the command reads, and the truth."""

    def renew(self) -> None:
        """Bring :attr:`out` to where the first start finds it."""

    def words(self) -> list[str]:
        """Return the command line that a user gives now."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Whether there is nothing left to begin again."""
        return False

    def check(self) -> None:
        """Raise where a file is there that is not whole."""

    def check_stopped(self) -> None:
        """Raise where a first start that SIGTERM ended in order kept less than it had."""

    def check_end(self) -> None:
        """Raise where the result is not that of a command that nobody killed."""

    def run(self, log: str, words: list[str] | None = None) -> None:
        """Run the command to its end."""
        command = warm.Command(words or self.words(), self.folder / log, self.checkpoint_seconds)
        code = command.wait()
        if code != 0:
            raise AssertionError(f"the command ended with {code}: {command.log[-3000:]}")

    def leftovers(self) -> list[str]:
        """Return what is of no use to anybody."""
        return sorted(
            str(path.relative_to(self.out))
            for path in self.out.rglob("*")
            if path.name.startswith(_LEFT)
        )


class Train(Job):
    checkpoint_seconds = 0.02

    def prepare(self) -> None:
        data = write_dataset(self.folder / "parts", train=10, good=2, defects=2)
        for index in range(4):
            write_photo(self.folder / f"penalty/{index}.png", part(300 + index))
        self._words = ["train", str(data), "--model", "efficientad-n", "--image-size", "96x96"]
        self._words += ["--steps", "6", "--batch-size", "2", "--precision", "32-true"]
        self._words += ["--penalty-images", str(self.folder / "penalty"), "--device", "cpu"]
        self.run("truth.log", [*self._words, "--out", str(self.folder / "truth")])
        self._truth = warm.in_child(_run_folder, self.folder / "truth")
        self._names = _names(self.folder / "truth")

    def renew(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def words(self) -> list[str]:
        words = [*self._words, "--out", str(self.out)]
        return [*words, "--resume"] if (self.out / "run.json").exists() else words

    def is_done(self) -> bool:
        return (self.out / "manifest.json").exists()

    def check(self) -> None:
        warm.in_child(_check_run, self.out)

    def check_stopped(self) -> None:
        warm.in_child(_check_stopped, self.out)

    def check_end(self) -> None:
        found = warm.in_child(_run_folder, self.out)
        if found != self._truth:
            raise AssertionError(f"resumed training differs: {found}, not {self._truth}")
        if _names(self.out) != self._names:
            raise AssertionError(f"files {_names(self.out)}, not {self._names}")


class Export(Job):
    """An export into a folder that holds an older one of the same names."""

    def prepare(self) -> None:
        training = Train(self.folder / "training")
        training.folder.mkdir()
        training.prepare()
        self._runs = [training.folder / "truth", training.folder / "other"]
        words = [*training._words, "--out", str(self._runs[1]), "--seed", "1"]
        training.run("other.log", words)
        self._old = self.folder / "old"
        self.run("old.log", ["export", str(self._runs[1]), "--out", str(self._old)])
        self._sources = [
            json.loads((run / "manifest.json").read_text())["source_sha256"] for run in self._runs
        ]
        self._report = json.loads((self._old / "report.json").read_text()).keys()

    def renew(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self._old, self.out)

    def words(self) -> list[str]:
        return ["export", str(self._runs[0]), "--out", str(self.out)]

    def check(self) -> None:
        self._check(self._sources)

    def check_end(self) -> None:
        self._check(self._sources[:1])
        if _names(self.out) != _names(self._old):
            raise AssertionError(f"files {_names(self.out)}, not {_names(self._old)}")

    def _check(self, sources: list[str]) -> None:
        artifact = read_artifact(self.out / "efficientad-n.onnx")
        if artifact.manifest.source_sha256 not in sources:
            raise AssertionError("an artifact of no training")
        if json.loads((self.out / "report.json").read_text()).keys() != self._report:
            raise AssertionError("a report of other keys")
        if not (self.out / "report.md").read_text().endswith("\n"):
            raise AssertionError("half a report")


class Predict(Job):
    """A prediction over an older one, with a picture for each photo."""

    _photos = 40

    def prepare(self) -> None:
        self._artifact = self.folder / "tiny.onnx"
        write_artifact(self._artifact, tiny_model(), manifest_for(32, 32, (8, 8)))
        for index in range(self._photos):
            photo = part(index, (240, 320), defect=index % 2 == 1)
            write_photo(self.folder / f"photos/{index:03}.png", photo)
        self._old, truth = self.folder / "old", self.folder / "truth"
        self.run("old.log", [*self._words(self._old), "--threshold", "0.9"])
        self.run("truth.log", self._words(truth))
        self._contents = [(place / "scores.json").read_bytes() for place in (truth, self._old)]
        if self._contents[0] == self._contents[1]:
            raise RuntimeError("old and new scores are the same: nothing could be told apart")
        self._names = _names(truth)

    def renew(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self._old, self.out)

    def words(self) -> list[str]:
        return self._words(self.out)

    def _words(self, out: Path) -> list[str]:
        words = ["predict", str(self._artifact), str(self.folder / "photos"), "--out"]
        return [*words, str(out / "overlays"), "--json", str(out / "scores.json")]

    def check(self) -> None:
        found = (self.out / "scores.json").read_bytes()
        if found not in self._contents:
            odd = set(found.splitlines()) - set(self._contents[0].splitlines())
            raise AssertionError(
                f"scores that are neither the old nor the new ones: {len(found)} bytes, not "
                f"{[len(content) for content in self._contents]}; {sorted(odd)[:5]}"
            )
        for path in (self.out / "overlays").glob("[!.]*.png"):
            if read_image(path).shape != (240, 320, 3):
                raise AssertionError(f"{path.name} is not whole")

    def check_end(self) -> None:
        self.check()
        if (self.out / "scores.json").read_bytes() != self._contents[0]:
            raise AssertionError("the old scores stand for the new ones")
        if _names(self.out) != self._names:
            raise AssertionError(f"files {_names(self.out)}, not {self._names}")


JOBS: dict[str, type[Job]] = {"train": Train, "export": Export, "predict": Predict}


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _run_folder(path: Path) -> dict[str, Any]:
    """Summarise what a training ended with."""
    from edgead.training import Run

    run = Run(path)
    model, manifest = run.load_model()
    steps = [json.loads(line).get("step") for line in run.metrics_file.read_text().splitlines()]
    return {
        "weights": hashlib.sha256(run.model_file.read_bytes()).hexdigest(),
        "threshold": manifest.threshold.value,
        "scores": manifest.score_statistics,
        "last_step": max(step for step in steps if step is not None),
        "tensors": len(model.state_dict()),
    }


def _check_run(path: Path) -> None:
    """Read every file of a run folder that a kill may have left at any point."""
    from edgead.training import Run

    run = Run(path)
    known = {"run.json", "metrics.jsonl", "checkpoint.safetensors", "model.safetensors"}
    known |= {"manifest.json"}
    found = {entry.name for entry in path.iterdir()} if path.exists() else set()
    odd = {name for name in found - known if not name.startswith(_LEFT)}
    if odd:
        raise AssertionError(f"files of other names: {odd}")
    if "run.json" in found:
        run.read_record()
    if "checkpoint.safetensors" in found:
        run.read_checkpoint()
    if "manifest.json" in found:
        run.load_model()
    if "metrics.jsonl" in found:
        for line in run.metrics_file.read_text().split("\n")[:-1]:
            json.loads(line)


def _check_stopped(path: Path) -> None:
    """With a minute between checkpoints, the signal has written the one of the last step."""
    from edgead.training import Run

    run = Run(path)
    steps = [line["step"] for line in run.metrics() if "step" in line] if run.exists else []
    if steps and not run.is_finished and run.read_checkpoint().step != steps[-1]:
        raise AssertionError(f"stopped at step {steps[-1]}, and its checkpoint is an older one")


def single_threaded() -> None:
    """Keep OpenCV from starting threads in the process that forks."""
    cv2.setNumThreads(0)
