"""Judge the candidate; if it passes, make the models versions of a registered model, move its aliases."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import write_atomic
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.registry.candidates import read_inputs
from pipeline.registry.params import RegisterParams
from pipeline.registry.register import register
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    inputs = read_inputs(stage)
    report.metrics(inputs.metrics())
    registration = register(stage.params("register", RegisterParams), stage, inputs)
    verdict = stage.out("reports/verdict.json")
    write_atomic(verdict, registration.examined.to_json())
    report.artifact(verdict)
    print(registration)


if __name__ == "__main__":
    run_stage("register", main)
