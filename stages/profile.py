"""Measure, before any training, what pruning needs to know of this machine: the rounding, and a table of latencies."""

from pipeline.compress.params import ShapeParams
from pipeline.compress.profile import make_profile
from pipeline.entry import run
from pipeline.files import write_atomic
from pipeline.models.params import ModelParams
from pipeline.report import Reporter
from pipeline.stage import Stage
from pipeline.train.job import dense_spec


def main(stage: Stage, report: Reporter) -> None:
    spec = dense_spec(stage.params("model", ModelParams), stage.dep("data/prepared"))
    profile = make_profile(spec, stage.params("prune", ShapeParams))
    write_atomic(stage.out("reports/profile.json"), profile.to_json())
    report.metrics({f"profile/{name}": value for name, value in profile.metrics().items()})


if __name__ == "__main__":
    run("profile", main)
