"""Make a smaller network of the dense one: without what it needs least, at once or in parts, or another."""

from collections.abc import Callable

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import to_json, write_atomic
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.launch.driver import launch
from pipeline.launch.resources import Resources
from pipeline.prune.params import PruneParams
from pipeline.prune.profile_report import read_profile
from pipeline.prune.schedule import Tuning, prune_in_parts
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter
from pipeline.train.job import TEACHER_FOLDER, Job, Site, run_directory
from pipeline.train.params import FitParams


def main(stage: Stage, report: Reporter, launch: Callable[[Job, Resources, str], None] = launch) -> None:
    resources = stage.resources(Resources)
    with run_directory(stage.run_dir) as run_dir:
        reports = prune_in_parts(
            stage.dep("artifacts/dense"),
            stage.dep("data/prepared"),
            stage.out("artifacts/pruned"),
            stage.params("prune", PruneParams),
            read_profile(stage.dep("reports/profile.json")),
            stage.params("task", TaskParams),
            Tuning(
                fit=lambda job: launch(job, resources, stage.name),
                params=stage.params("finetune", FitParams),
                teacher_folder=stage.dep(TEACHER_FOLDER),
                site=Site(run_dir=run_dir, journal=stage.journal, checkpoint_s=resources.checkpoint_s),
            ),
        )
    for modules, reason in reports[-1].not_pruned.items():
        print(f"not pruned: {modules}: {reason}")
    for number, result in enumerate(reports, start=1):
        report.metrics({f"prune/{name}": value for name, value in result.metrics().items()}, step=number)
    write_atomic(stage.out("reports/prune.json"), to_json(reports[-1].record()))


if __name__ == "__main__":
    run_stage("prune", main)
