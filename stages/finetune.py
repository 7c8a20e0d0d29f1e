"""Train the pruned model further, with the dense one, or one that was brought, as its teacher."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.entry import run_stage
from pipeline.launch.driver import launch
from pipeline.launch.resources import Resources
from pipeline.models.disk.artifact import read_spec
from pipeline.stage import Stage
from pipeline.tasks.params import TaskParams
from pipeline.tracking.journal import Reporter
from pipeline.train.job import TEACHER_FOLDER, Job, run_directory, taught, tuned_spec
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import collect_result


def main(stage: Stage, report: Reporter) -> None:
    pruned, dense, brought = (
        stage.dep(path) for path in ("artifacts/pruned", "artifacts/dense", TEACHER_FOLDER)
    )
    params = stage.params("finetune", FitParams)
    spec, teacher = taught(tuned_spec(read_spec(pruned), "pruned"), params.distil, dense, brought)
    resources = stage.resources(Resources)
    with run_directory(stage.run_dir) as run_dir:
        job = Job(
            spec=spec,
            initial=pruned.absolute(),
            init=None,
            teacher=teacher.absolute() if teacher else None,
            params=params,
            task=stage.params("task", TaskParams),
            data=stage.dep("data/prepared").absolute(),
            run_dir=run_dir,
            journal=stage.journal,
            checkpoint_s=resources.checkpoint_s,
        )
        launch(job, resources, stage.name)
        report.metrics(
            collect_result(job, stage.out("artifacts/finetuned"), stage.out("reports/finetune/history.csv"))
        )


if __name__ == "__main__":
    run_stage("finetune", main)
