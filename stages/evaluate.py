"""Measure one variant on the test split: `python -m stages.evaluate <variant>`."""

import sys

from pipeline.entry import run
from pipeline.evaluate.evaluate import Outs, evaluate
from pipeline.evaluate.params import EvaluateParams
from pipeline.models.spec import ONNX_NAME
from pipeline.report import Reporter
from pipeline.stage import Stage
from pipeline.tasks.params import TaskParams
from pipeline.tasks.task import make_task


def main(stage: Stage, report: Reporter) -> None:
    variant = stage.name.partition("@")[2]
    folder = f"reports/{variant}"
    outs = Outs(
        exported=stage.out(f"exported/{variant}"),
        metrics=stage.out(f"{folder}/metrics.json"),
        latency=stage.out(f"{folder}/latency.json"),
        reliability=stage.out(f"{folder}/reliability.csv"),
        confusion=stage.out(f"{folder}/confusion.csv"),
        classes=stage.out(f"{folder}/classes.csv"),
        pictures=stage.out(f"{folder}/pictures"),
    )
    artifact, data = stage.dep(f"artifacts/{variant}"), stage.dep("data/prepared")
    dense = stage.dep("exported/dense") / ONNX_NAME if "exported/dense" in stage.deps else None
    params, task = stage.params("evaluate", EvaluateParams), make_task(stage.params("task", TaskParams))
    result = evaluate(artifact, dense, data, outs, params, task)
    report.metrics({f"{variant}/{name}": value for name, value in result.reported().items()})
    report.artifact(outs.pictures)


if __name__ == "__main__":
    run(f"evaluate@{sys.argv[1]}", main)
