"""Train the pruned model further, with the dense one as its teacher."""

from pipeline.cluster import launch
from pipeline.entry import run
from pipeline.models.artifact import read_spec
from pipeline.report import Reporter
from pipeline.resources import Resources
from pipeline.stage import Stage
from pipeline.tasks.params import TaskParams
from pipeline.train.checkpoint import run_directory
from pipeline.train.job import Job, tuned_spec
from pipeline.train.loop import fit
from pipeline.train.params import FitParams
from pipeline.train.result import save_result


def main(stage: Stage, report: Reporter) -> None:
    pruned = stage.dep("artifacts/pruned")
    with run_directory(stage.run_dir) as run_dir:
        job = Job(
            spec=tuned_spec(read_spec(pruned), "pruned"),
            initial=pruned.absolute(),
            teacher=stage.dep("artifacts/dense").absolute(),
            params=stage.params("finetune", FitParams),
            task=stage.params("task", TaskParams),
            data=stage.dep("data/prepared").absolute(),
            run_dir=run_dir,
            journal=stage.journal,
        )
        launch(fit, job, stage.resources(Resources), stage.name)
        report.metrics(save_result(job, stage.out("artifacts/finetuned"), stage.out("reports/finetune/history.csv")))


if __name__ == "__main__":
    run("finetune", main)
