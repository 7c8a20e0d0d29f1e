"""Train the pruned model further, with the dense one, or one that was brought, as its teacher."""

from collections.abc import Callable

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.launch.driver import launch
from pipeline.launch.resources import Resources
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter
from pipeline.train.job import TEACHER_FOLDER, Job, Site, child_job, run_directory
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import collect_result


def main(stage: Stage, report: Reporter, launch: Callable[[Job, Resources, str], None] = launch) -> None:
    resources = stage.resources(Resources)
    with run_directory(stage.run_dir) as run_dir:
        job = child_job(
            stage.dep("artifacts/pruned"),
            stage.params("finetune", FitParams),
            stage.params("task", TaskParams),
            Site(run_dir=run_dir, journal=stage.journal, checkpoint_s=resources.checkpoint_s),
            data=stage.dep("data/prepared"),
            dense=stage.dep("artifacts/dense"),
            teacher_folder=stage.dep(TEACHER_FOLDER),
        )
        launch(job, resources, stage.name)
        report.metrics(
            collect_result(job, stage.out("artifacts/finetuned"), stage.out("reports/finetune/history.csv"))
        )


if __name__ == "__main__":
    run_stage("finetune", main)
