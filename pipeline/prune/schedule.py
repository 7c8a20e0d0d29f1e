"""Pruning in parts with training in between (Han et al. 2015, arXiv 1506.02626), on the cubic schedule of Zhu
& Gupta (2017, arXiv 1710.01878): most goes at first, while the network can still make up for it.

A cut takes seconds and is made again after a kill, to the same bits; a training goes on from its last
checkpoint, and one that is done is not repeated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.disk.artifact import read_spec
from pipeline.prune.params import PruneParams
from pipeline.prune.profile_report import Profile
from pipeline.prune.prune import WHOLE, Part, PruneReport, prune
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.tasks.training.task import make_task
from pipeline.train.job import Job, Site, child_job
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import trained_model


@dataclass(frozen=True)
class Tuning:
    """The training between two cuts. fit: runs a job to its end. site: the stage's, below whose run directory
    each training has its own.

    teacher_folder: of a teacher other than dense, if params say so.
    """

    fit: Callable[[Job], object]
    params: FitParams
    teacher_folder: Path
    site: Site


def prune_in_parts(
    dense: Path,
    data: Path,
    out: Path,
    params: PruneParams,
    profile: Profile,
    task: TaskParams,
    tuning: Tuning,
) -> list[PruneReport]:
    """Prune a dense artifact as `params.schedule` says and save the last result; reports of all cuts.

    Raises as prune() and `tuning.fit` do.
    """
    reports, part = [], WHOLE
    asked = make_task(task, notes_of(read_spec(dense).task))
    for number, share in enumerate(shares(params), start=1):
        folder = out if share == 1.0 else tuning.site.run_dir / f"cut-{number}"
        part = Part(share, part.tuned)
        reports.append(prune(dense, data, folder, params, profile, asked, part))
        if share < 1.0:
            job = tuning_job(number, folder, dense, data, params, task, tuning)
            tuning.fit(job)
            part = Part(share, trained_model(job))
    return reports


def shares(params: PruneParams) -> Iterator[float]:
    """Fractions of the way to the target that the cuts reach; the last is 1."""
    parts = params.schedule.parts if params.schedule else 1
    return (1.0 - (1.0 - number / parts) ** 3 for number in range(1, parts + 1))


def tuning_job(
    number: int, cut: Path, dense: Path, data: Path, params: PruneParams, task: TaskParams, tuning: Tuning
) -> Job:
    """The training after a cut that left the artifact `cut`. Raises ArtifactError as child_job()."""
    assert params.schedule is not None, "one cut alone needs no training in between"
    # A storage knows a run by the last name alone.
    run_dir = tuning.site.run_dir / f"{tuning.site.run_dir.name}-tuning-{number}"
    changes = {
        "epochs": params.schedule.epochs,
        "seed": tuning.params.seed + number,
        "quantization_aware": None,
    }
    return child_job(
        cut,
        tuning.params.model_copy(update=changes),
        task,
        tuning.site.at(run_dir),
        data=data,
        dense=dense,
        teacher_folder=tuning.teacher_folder,
    )
