"""From a finished run to the outs of its stage."""

import csv
import io
from pathlib import Path

import torch

from pipeline.errors import TrainingError
from pipeline.files import write_atomic
from pipeline.models.artifact import save_model
from pipeline.models.build import rebuild
from pipeline.train.checkpoint import Store
from pipeline.train.job import Job
from pipeline.train.state import Progress, select


def save_result(job: Job, out: Path, history: Path) -> dict[str, float]:
    """Write the kept weights as a model folder and the metrics of every epoch as CSV.

    Returns the last epoch's metrics and the best validation result.
    Raises TrainingError where the run has not finished.
    """
    checkpoint = Store(job.run_dir / "checkpoints").newest()
    if checkpoint is None or not checkpoint[1]["progress"]["done"]:
        raise TrainingError(
            f"{job.run_dir} holds no finished run; run the stage again, it resumes from the last complete epoch"
        )
    tensors, values = checkpoint
    progress = Progress(**values["progress"])
    model = rebuild(job.spec)
    model.load_state_dict(select(tensors, _kept_prefix(job)))
    save_model(out, job.spec.model_copy(update={"provenance": _provenance(job, progress)}), model)
    write_atomic(history, _csv(progress.history))
    return {
        **{k: v for k, v in progress.history[-1].items() if k not in {"epoch", "step"}},
        "epochs": progress.epoch,
        "best": progress.best or 0.0,
    }


def _kept_prefix(job: Job) -> str:
    if job.params.keep == "best":
        return "best."
    return "ema." if job.params.ema_decay else "model."


def _provenance(job: Job, progress: Progress) -> dict[str, int | float | str]:
    """What decides the last bit of the weights, beside the declared inputs."""
    return {
        **job.spec.provenance,
        "placement": ", then ".join(progress.placements),
        "amp": job.params.amp,
        "torch": torch.__version__,
    }


def _csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
