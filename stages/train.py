"""Train the dense model on the prepared data, on every worker of the cluster."""

from collections.abc import Callable

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.launch.driver import launch
from pipeline.launch.resources import Resources
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import WEIGHTS_NAME
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter
from pipeline.train.job import Job, Site, dense_job, run_directory
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import collect_result


def main(stage: Stage, report: Reporter, launch: Callable[[Job, Resources, str], None] = launch) -> None:
    data, model = stage.dep("data/prepared"), stage.params("model", ModelParams)
    init = stage.dep("data/init") / WEIGHTS_NAME if model.init == "file" else None
    task, resources = stage.params("task", TaskParams), stage.resources(Resources)
    with run_directory(stage.run_dir) as run_dir:
        site = Site(run_dir=run_dir, journal=stage.journal, checkpoint_s=resources.checkpoint_s)
        params = stage.params("train", FitParams)
        job = dense_job(model, params, task, data, init, site)
        launch(job, resources, stage.name)
        report.metrics(
            collect_result(job, stage.out("artifacts/dense"), stage.out("reports/train/history.csv"))
        )


if __name__ == "__main__":
    run_stage("train", main)
