"""Measure one variant on the test split: `python -m stages.evaluate <variant>`."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.evaluate.evaluate import EvaluationOuts, evaluate
from pipeline.evaluate.params import EvaluateParams
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    variant = stage.name.partition("@")[2]
    folder = f"reports/{variant}"
    outs = EvaluationOuts(
        exported=stage.out(f"exported/{variant}"),
        metrics=stage.out(f"{folder}/metrics.json"),
        scores=stage.out(f"{folder}/scores.csv"),
        tables=stage.out(f"{folder}/tables"),
        pictures=stage.out(f"{folder}/pictures"),
        seal=stage.out(f"{folder}/seal.json"),
    )
    artifact, data = stage.dep(f"artifacts/{variant}"), stage.dep("data/prepared")
    params, task = stage.params("evaluate", EvaluateParams), stage.params("task", TaskParams)
    metrics = evaluate(artifact, data, outs, params, task)
    report.metrics({f"{variant}/{name}": value for name, value in metrics.items()})
    report.artifact(outs.pictures)


if __name__ == "__main__":
    run_stage("evaluate", main)
