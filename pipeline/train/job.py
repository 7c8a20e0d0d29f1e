"""What one training run is: everything a worker needs to know, as JSON.

A Job says in three records what to compute, from which files, and at which site; only the first of them
decides the weights, because it names the others' content by digests.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError

from pipeline.base.files import locked, sha256_file
from pipeline.base.records import Record
from pipeline.data.fields.field import PIXELS
from pipeline.data.prepared.manifest import read_manifest
from pipeline.errors import ArtifactError, listed
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import Architecture, ModelSpec, Preprocessing, TensorSpec
from pipeline.models.disk.artifact import SPEC_NAME, read_spec
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.train.params import DistilParams, FitParams

INIT_FOLDER = "data/init"
ORIGIN_NAME = "origin.json"
TEACHER_FOLDER = "data/teacher"
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
MOST_SHOWN = 5
"""Parts of an answer that an error message lists at most."""


class Origin(Record):
    """origin.json: where weights that `espalier weights` brought came from, and the digest that they had."""

    source: str
    sha256: str


class Problem(Record):
    """What to compute: with the libraries all that decides the weights. A checkpoint is of one problem."""

    spec: ModelSpec
    """The network to train and, by digest, what it is made from: all of `Inputs` are its ancestors."""
    params: FitParams
    task: TaskParams


class Inputs(Record):
    """Files to compute from, readable by every worker unless there is a storage (transport/driver.py)."""

    data: AbsolutePath
    initial: AbsolutePath | None = None
    """Model folder to start from; None starts from `init`, and without it from random weights."""
    init: AbsolutePath | None = None
    """safetensors file, as data/init holds it."""
    teacher: AbsolutePath | None = None
    """Model folder to distil from; needed if params.distil is set."""


class Site(Record):
    """Where a run keeps its state, and how its processes reach each other. Decides no result."""

    run_dir: AbsolutePath
    journal: AbsolutePath
    checkpoint_s: float
    """Seconds between two checkpoints."""
    storage: str | None = None
    """Folder or bucket prefix through which driver and workers reach each other if they share no disk."""
    digests: dict[str, str] = Field(default={})
    """Digest by which the storage knows an input, by its field."""
    owner: str = ""
    """Name by which this run's driver, or a worker of it, claims the run in the storage (fence.py)."""

    def at(self, run_dir: Path) -> Self:
        """The site of another run beside this one, with its journal in its run directory."""
        return self.model_copy(update={"run_dir": run_dir, "journal": run_dir / "journal.jsonl"})


class Job(Record):
    """One run of `fit`."""

    problem: Problem
    inputs: Inputs
    site: Site


def dense_job(
    model: ModelParams, params: FitParams, task: TaskParams, data: Path, init: Path | None, site: Site
) -> Job:
    """The training of the dense network. Raises as dense_spec()."""
    problem = Problem(spec=dense_spec(model, task, data, init), params=params, task=task)
    return Job(problem=problem, inputs=Inputs(data=data, init=init), site=site)


def child_job(
    pruned: Path,
    params: FitParams,
    task: TaskParams,
    site: Site,
    *,
    data: Path,
    dense: Path,
    teacher_folder: Path,
) -> Job:
    """The further training of a pruned artifact, with `dense` or a teacher that was brought.

    Raises ArtifactError as resolve_teacher().
    """
    child = child_spec(read_spec(pruned), "pruned")
    spec, teacher = resolve_teacher(child, params.distil, dense, teacher_folder)
    problem = Problem(spec=spec, params=params, task=task)
    return Job(problem=problem, inputs=Inputs(data=data, initial=pruned, teacher=teacher), site=site)


def dense_spec(
    params: ModelParams, task_params: TaskParams, data: Path, init: Path | None = None
) -> ModelSpec:
    """The untrained dense network for a task on prepared data.

    init: the file with its weights at the start, if they are not random.

    Raises DataError for a folder that is not prepared data, ArtifactError for a file that is missing or not
    as it was brought.
    """
    # Here, because it imports torch, for seconds that the process which drives Ray need not wait.
    from pipeline.tasks.training.task import make_task

    manifest = read_manifest(data)
    notes, image = task_params.notes(manifest), manifest.image
    outputs = make_task(task_params, notes).outputs()
    if init is not None and not init.exists():
        raise ArtifactError(f"model.init is file, but there is no {init}; bring one with `espalier weights`")
    if init is not None:
        _check_origin(init, sha256_file(init), "espalier weights")
    return ModelSpec(
        architecture=Architecture(
            **params.model_dump(exclude={"init"}),
            num_outputs=sum(math.prod(output.shape) for output in outputs.values()),
            channels=image.channels,
            image_height=image.height,
            image_width=image.width,
        ),
        inputs={
            PIXELS: TensorSpec(
                shape=[image.channels, image.height, image.width],
                meaning="pixels 0..255, upright, grey or RGB",
            )
        },
        outputs=outputs,
        preprocessing=Preprocessing(
            resize=image.resize, sixteen_bit=image.sixteen_bit, mean=image.mean, std=image.std
        ),
        task=notes.model_dump(),
        plan={},
        ancestors={"data": sha256_file(data / "manifest.json")}
        | ({"init": sha256_file(init)} if init else {}),
        provenance={},
    )


def child_spec(parent: ModelSpec, name: str) -> ModelSpec:
    """The spec of a model that starts from `parent`, which takes its place among the ancestors as `name`."""
    return parent.model_copy(update={"ancestors": {**parent.ancestors, name: parent.digest}, "weights": None})


def resolve_teacher(
    spec: ModelSpec, distil: DistilParams | None, dense: Path, teacher_folder: Path
) -> tuple[ModelSpec, Path | None]:
    """A model's spec, with its teacher among its ancestors, and the teacher's folder; None without one.

    Raises ArtifactError if none was brought, it is not as it was brought, or it is for other inputs,
    outputs or answers.
    """
    if distil is None or distil.teacher == "dense":
        return spec, dense if distil else None
    if not (teacher_folder / SPEC_NAME).exists():
        raise ArtifactError(
            f"distil.teacher is file, but {teacher_folder} holds no model; bring one with `espalier weights "
            "--teacher`, or take dense"
        )
    found = read_spec(teacher_folder)
    _check_origin(teacher_folder / SPEC_NAME, found.digest, "espalier weights --teacher")
    for what, own, other in (
        ("answers", notes_of(spec.task).choices, notes_of(found.task).choices),
        ("inputs", _shapes(spec.inputs), _shapes(found.inputs)),
        ("outputs", _shapes(spec.outputs), _shapes(found.outputs)),
    ):
        if own != other:
            theirs, ours = listed(other, MOST_SHOWN), listed(own, MOST_SHOWN)
            raise ArtifactError(
                f"{teacher_folder}: its {what} are {theirs}, the data's {ours}; bring another teacher"
            )
    return spec.model_copy(update={"ancestors": {**spec.ancestors, "teacher": found.digest}}), teacher_folder


def _check_origin(path: Path, digest: str, bring: str) -> None:
    """Raises ArtifactError unless the origin.json beside `path` names this digest.

    bring: the command that writes both.
    """
    origin = path.with_name(ORIGIN_NAME)
    try:
        known = Origin.model_validate_json(origin.read_bytes()).sha256
    except (OSError, ValidationError) as error:
        raise ArtifactError(f"{origin}: missing or damaged; bring the weights again: `{bring}`") from error
    if known != digest:
        raise ArtifactError(
            f"{path}: not what {origin} says was brought: damaged or exchanged; bring it again: `{bring}`"
        )


def _shapes(tensors: Mapping[str, TensorSpec]) -> list[str]:
    return [f"{name} {' x '.join(map(str, tensor.shape))}" for name, tensor in tensors.items()]


@contextmanager
def run_directory(path: Path) -> Iterator[Path]:
    """The run directory of a stage: locked against another driver, kept after an error, else removed."""
    with locked(path / "driver.lock", wait_s=0.0, what="this stage with the same inputs"):
        yield path
        shutil.rmtree(path)
