"""Measure what pruning needs to know of this machine: the rounding, and the width for a latency."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import write_atomic
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.profile.profile import make_profile
from pipeline.prune.params import ShapeParams
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    profile = make_profile(
        stage.dep("artifacts/dense"),
        stage.dep("data/prepared"),
        stage.params("prune", ShapeParams),
        stage.params("task", TaskParams),
    )
    write_atomic(stage.out("reports/profile.json"), profile.to_json())
    report.metrics({f"profile/{name}": value for name, value in profile.metrics().items()})


if __name__ == "__main__":
    run_stage("profile", main)
