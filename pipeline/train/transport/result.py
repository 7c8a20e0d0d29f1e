"""What a finished run leaves for the driver in its run directory: model folder, metrics, a summary."""

import torch

from pipeline.base.files import atomic_dir, csv_text, to_json
from pipeline.data.prepared.reader import Split
from pipeline.models.disk.weights import save_model
from pipeline.models.nets.build import rebuild
from pipeline.tasks.training.task import Task
from pipeline.train.job import Job
from pipeline.train.methods.quantization_aware import split
from pipeline.train.state import Progress, State
from pipeline.train.transport.collect import HISTORY_NAME, MODEL_NAME, SUMMARY_NAME, result_folder
from pipeline.train.validate import split_outputs


def save_result(job: Job, state: State, task: Task, val: Split) -> None:
    """Write the final weights as a model folder, every epoch's metrics as CSV, and the last epoch's.

    val: the validation split, on which a task may have something to choose for who reads the answers.
    """
    model = rebuild(job.problem.spec)
    weights, ranges = split(state.model, state.final_weights(best=job.problem.params.final_weights == "best"))
    model.load_state_dict(weights)
    made = {"provenance": _provenance(job, state.progress), "ranges": ranges}
    if task.tunes:
        answers = split_outputs(model, job.problem.spec, val)
        made |= {"task": task.tuned(answers, val.targets).model_dump()}
    spec = job.problem.spec.model_copy(update=made)
    with atomic_dir(result_folder(job)) as folder:
        save_model(folder / MODEL_NAME, spec, model)
        (folder / HISTORY_NAME).write_text(_csv(state.progress.history), encoding="utf-8")
        (folder / SUMMARY_NAME).write_text(to_json(_summary(state.progress)), encoding="utf-8")


def _summary(progress: Progress) -> dict[str, float]:
    last = {key: value for key, value in progress.history[-1].items() if key not in {"epoch", "step"}}
    return {**last, "epochs": progress.epoch, "best": progress.best or 0.0}


def _provenance(job: Job, progress: Progress) -> dict[str, int | float | str]:
    """What decides the last bit of the weights, beside the declared inputs."""
    return {
        **job.problem.spec.provenance,
        "placement": ", then ".join(progress.placements),
        "amp": job.problem.params.amp,
        "torch": torch.__version__,
    }


def _csv(history: list[dict[str, float]]) -> str:
    # Sorted, because a resumed run's rows come from JSON with sorted keys.
    names = ["epoch", "step", *sorted(set(history[0]) - {"epoch", "step"})]
    return csv_text(names, ([row.get(name, "") for name in names] for row in history))
