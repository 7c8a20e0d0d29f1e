"""Bring the source's images to one size, check every row, cut them into splits, and describe the result."""

import os

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.stage import Stage
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.entry import run_stage
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    params = stage.params("data", DataParams)
    card = stage.out("reports/data")
    manifest = prepare(
        params,
        stage.dep(params.source.path),
        stage.out("data/prepared"),
        card,
        work=stage.run_dir,
        processes=len(os.sched_getaffinity(0)),
    )
    rows = {f"data/{split}/rows": info.rows for split, info in manifest.splits.items()}
    duplicates = {f"data/duplicates/{pair}": count for pair, count in manifest.duplicates.items()}
    outcomes = {f"data/{outcome}": count for outcome, count in manifest.outcomes.items()}
    report.metrics({**rows, **duplicates, **outcomes})
    for name in ("card.md", "classes.png", "samples.png", "quarantine.csv", "quarantine.parquet"):
        report.artifact(card / name)


if __name__ == "__main__":
    run_stage("prepare", main)
