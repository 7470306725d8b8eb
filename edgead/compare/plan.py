"""What a comparison is asked to do, checked before the first training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgead.artifact import KINDS, ONNX_SUFFIX, ViewSpec, read_artifact
from edgead.compare.recommend import Constraints
from edgead.compare.results import LeftOut
from edgead.errors import UsageError
from edgead.teaching import DETECTORS

PRECISIONS = tuple(dict.fromkeys(kind.arithmetic for kind in KINDS.values()))
MOST_GMAC_ON_CPU = 10.0
"""Without a GPU, larger detectors are trained only when they are named: a step of the smallest one
above it takes seconds on two cores, and a training thousands of steps."""


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        data: Folder of photos.
        out: Folder for runs, exports and the report.
        detectors: Registered names, names of detectors that are taught, finished run folders and
            taught files; empty for every name that this machine can make in reasonable time.
        steps: Iterations by registered name, ``""`` for all others; the rest takes its recipe's.
        teachers: Teacher files by registered name.
        options: The detectors' own options by registered name, as ``edgead models`` lists them.
        seed: Random seed of every training.
        image_size: ``(height, width)`` of every network's input in pixels.
        train_device: ``"auto"``, ``"cpu"`` and so on.
        precisions: Some of :data:`PRECISIONS`; FP32 is always included.
        max_drop: Limit of the accuracy gate, in points.
        threads: Threads of one inference; ``None`` for the default.
        seconds: Duration of the speed measurement of each variant.
        elsewhere: JSON files of ``edgead bench`` on other devices, by the device's name.
        constraints: What the recommendation must keep.
        good: Names of folders of ``data``, besides ``good``, with photos of good parts.
        view: What of a photo every detector that is made here judges; ``None`` for all of it.
    """

    data: Path
    out: Path
    detectors: tuple[str, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seed: int = 0
    image_size: tuple[int, int] = (256, 256)
    train_device: str = "auto"
    precisions: tuple[str, ...] = PRECISIONS
    max_drop: float = 0.5
    threads: int | None = None
    seconds: float = 5.0
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    constraints: Constraints = field(default_factory=Constraints)
    good: tuple[str, ...] = ()
    view: ViewSpec | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.precisions if name not in PRECISIONS]
        if unknown:
            raise UsageError(
                f"unknown precision '{unknown[0]}'; choose from: {', '.join(PRECISIONS)}"
            )
        if not self.seconds > 0:
            raise UsageError(f"the duration must be above 0 seconds, not {self.seconds:g}")


@dataclass(frozen=True)
class Contender:
    """A detector to compare: trained or taught here, a finished run, or a taught file.

    Attributes:
        label: Its name in the comparison, and of its folders.
        model: Registered name.
        run: The run folder, or the taught file.
        steps: To train; ``None`` for the recipe's number, or for a finished run.
        teacher: Teacher file, or ``None``.
        options: The detector's own options.
        is_taken: Whether the run was finished before.
    """

    label: str
    model: str
    run: Path
    steps: int | None = None
    teacher: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    is_taken: bool = False

    @property
    def is_taught(self) -> bool:
        """Whether it is taught, and not trained."""
        return self.model in DETECTORS


def contenders(plan: Plan) -> tuple[list[Contender], list[LeftOut]]:
    """List who takes part, in the order asked for, and who does not and why.

    Raises:
        UsageError: A name is neither registered nor a run folder, or an option names a detector
            that is not in the comparison.
        TrainingError: A run folder given is not finished or is damaged.
    """
    from edgead.models import model_names

    made_here = (*model_names(), *DETECTORS)
    asked = plan.detectors or made_here
    words = [word if word in made_here else str(Path(word)) for word in asked]
    repeated = next((word for word in words if words.count(word) > 1), None)
    if repeated:
        raise UsageError(f"'{repeated}' is in --models twice; give each detector once")
    models = {word: word if word in made_here else _model_of(Path(word)) for word in words}
    found = [
        _to_make(plan, word) if word in made_here else _taken(Path(word), models) for word in words
    ]
    labels = [contender.label for contender in found]
    same = next((contender for contender in found if labels.count(contender.label) > 1), None)
    if same is not None:
        raise UsageError(
            f"two runs or files in --models have the same name '{same.label}' (one is {same.run}), "
            "and one would overwrite the other: give each once, or rename one"
        )
    left_out: list[LeftOut] = []
    trained = {c.model for c in found if not c.is_taken and not c.is_taught}
    _check_names("--steps", plan.steps, trained)
    _check_names("--teacher", plan.teachers, trained)
    _check_names("--option", plan.options, trained)
    if not plan.detectors:
        found, left_out = _without_the_slow(plan, found)
    kept = []
    for contender in found:
        is_made = contender.is_taken or contender.is_taught
        reason = None if is_made else _cannot_be_trained(contender, plan)
        if reason is None:
            kept.append(contender)
        else:
            left_out.append(LeftOut(contender.label, reason))
    return kept, left_out


def _to_make(plan: Plan, model: str) -> Contender:
    if model in DETECTORS:
        return Contender(model, model, plan.out / "exports" / model)
    return Contender(
        model,
        model,
        plan.out / "runs" / model,
        _steps(plan, model),
        plan.teachers.get(model),
        _checked_options(plan, model),
    )


def _steps(plan: Plan, model: str) -> int | None:
    """Return the steps asked for; those asked for all detectors are for those that take any."""
    if _takes_steps(model):
        return plan.steps.get(model, plan.steps.get(""))
    if model in plan.steps:
        raise UsageError(
            f"--steps names '{model}', which does not train by gradient steps; leave it out"
        )
    return None


def _takes_steps(model: str) -> bool:
    from edgead.models import GradientModel
    from edgead.models.registry import model_class

    return issubclass(model_class(model), GradientModel)


def _checked_options(plan: Plan, model: str) -> Mapping[str, str]:
    """Return a detector's options, checked before hours of training."""
    from edgead.models.registry import model_class

    given = plan.options.get(model, {})
    model_class(model).resolve_options(given)
    return given


def _model_of(path: Path) -> str:
    """Return what a finished run trained, or what a file was taught as."""
    from edgead.models import model_names
    from edgead.training import Run

    if path.suffix.lower() == ONNX_SUFFIX and path.is_file():
        manifest = read_artifact(path).manifest
        if manifest.model.name in DETECTORS:
            return manifest.model.name
        raise UsageError(
            f"{path} was trained ({manifest.name}): give its run folder in place of the file"
        )
    if not path.is_dir():
        raise UsageError(
            f"'{path}' is neither a detector nor a run folder nor a taught file; detectors: "
            f"{', '.join((*model_names(), *DETECTORS))}"
        )
    return Run(path).read_manifest().model.name


def _taken(path: Path, models: Mapping[str, str]) -> Contender:
    """Label a run with its model's name, and with as much of its path as tells it from others."""
    model = models[str(path)]
    names = path.resolve().parts[1:]
    others = [
        Path(word).resolve().parts[1:]
        for word, of in models.items()
        if of == model and word not in (model, str(path))
    ]
    count = 0 if list(models.values()).count(model) == 1 else 1
    while count < len(names) and any(names[-count:] == other[-count:] for other in others if count):
        count += 1
    label = "-".join((model, *names[len(names) - count :]))
    return Contender(label, model, path, is_taken=True)


def _check_names(option: str, given: Mapping[str, object], models: set[str]) -> None:
    for name in given:
        if name and name not in models:
            raise UsageError(
                f"{option} names '{name}', which this comparison does not train; it trains: "
                f"{', '.join(sorted(models)) or 'nothing'}"
            )


def _without_the_slow(
    plan: Plan, found: Sequence[Contender]
) -> tuple[list[Contender], list[LeftOut]]:
    """Leave out what a machine without a GPU would train for hours, unless it was named."""
    if _has_gpu(plan.train_device):
        return list(found), []
    kept, left_out = [], []
    for contender in found:
        if contender.is_taught:
            kept.append(contender)
            continue
        gmac = _gmac(contender, plan)
        is_small = gmac is None or gmac <= MOST_GMAC_ON_CPU
        if is_small or contender.model in plan.teachers or not _takes_steps(contender.model):
            kept.append(contender)
        else:
            reason = (
                f"a detector of {gmac:.0f} GMAC per image takes hours to train without a GPU; to "
                f"train it anyway, name it in --models (--steps {contender.model}=N for a short "
                "training), or give the run folder of a training from another machine"
            )
            left_out.append(LeftOut(contender.label, reason))
    return kept, left_out


def _has_gpu(train_device: str) -> bool:
    import torch

    if train_device == "auto":
        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return train_device != "cpu"


def _gmac(contender: Contender, plan: Plan) -> float | None:
    """Count a detector's arithmetic; ``None`` where it cannot even be built."""
    import torch

    from edgead.errors import EdgeadError
    from edgead.models import create_model
    from edgead.networks.cost import count_macs

    try:
        model = create_model(contender.model, plan.image_size, **contender.options).eval()
    except EdgeadError:
        return None
    return count_macs(model, torch.zeros(1, *plan.image_size, 3, dtype=torch.uint8)) / 1e9


def _cannot_be_trained(contender: Contender, plan: Plan) -> str | None:
    """Say what a detector lacks; a comparison should not find out after hours of others."""
    from edgead.errors import EdgeadError
    from edgead.models import create_model
    from edgead.training import Run

    if Run(contender.run).is_finished:
        return None
    try:
        model = create_model(contender.model, plan.image_size, **contender.options)
        model.load_teacher(contender.teacher)
    except EdgeadError as error:
        return str(error)
    return None
