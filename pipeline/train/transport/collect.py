"""The driver's side of a finished run: from the run directory to the outs of the stage. Knows no torch."""

import json
import shutil
from pathlib import Path

from pipeline.base.files import atomic_dir, write_atomic
from pipeline.errors import TrainingError
from pipeline.train.job import Job

MODEL_NAME = "model"
HISTORY_NAME = "history.csv"
SUMMARY_NAME = "summary.json"


def result_folder(job: Job) -> Path:
    return job.site.run_dir / "result"


def trained_model(job: Job) -> Path:
    """The model folder of a finished run. Raises TrainingError if it has not finished."""
    result = result_folder(job)
    if not result.exists():
        raise TrainingError(
            f"{job.site.run_dir} holds no finished run; run the stage again, it resumes from the last "
            "checkpoint"
        )
    return result / MODEL_NAME


def collect_result(job: Job, out: Path, history: Path) -> dict[str, float]:
    """Copy the model folder to `out` and the metrics of every epoch to `history`.

    Returns the last epoch's metrics and the best validation result. Raises TrainingError if the run has not
    finished.
    """
    model, result = trained_model(job), result_folder(job)
    with atomic_dir(out) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
    write_atomic(history, (result / HISTORY_NAME).read_bytes())
    summary: dict[str, float] = json.loads((result / SUMMARY_NAME).read_text(encoding="utf-8"))
    return summary
