"""Time every variant, and say what each step of compression lost."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.stage import Stage
from pipeline.compare.compare import ComparisonOuts, Evaluated, compare
from pipeline.compare.records import STEPS, VARIANTS
from pipeline.entry import run_stage
from pipeline.evaluate.params import EvaluateParams
from pipeline.models.description.spec import ONNX_NAME
from pipeline.tasks.description.params import TaskParams
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    variants = {
        name: Evaluated(
            onnx=stage.dep(f"exported/{name}") / ONNX_NAME,
            scores=stage.dep(f"reports/{name}/scores.csv"),
            metrics=stage.dep(f"reports/{name}/metrics.json"),
            seal=stage.dep(f"reports/{name}/seal.json"),
        )
        for name in VARIANTS
    }
    outs = ComparisonOuts(
        latency={name: stage.out(f"reports/{name}/latency.json") for name in VARIANTS},
        lost={name: stage.out(f"reports/{name}/lost") for name in STEPS},
        seal=stage.out("reports/seal.json"),
    )
    params, task = stage.params("evaluate", EvaluateParams), stage.params("task", TaskParams)
    found = compare(variants, stage.dep("data/prepared"), outs, params, task)
    report.metrics(found.reported())
    for folder in outs.lost.values():
        report.artifact(folder)


if __name__ == "__main__":
    run_stage("compare", main)
