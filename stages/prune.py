"""Remove the dense model's least important channels until its MACs meet the target."""

from pipeline.compress.params import PruneParams
from pipeline.compress.prune import prune
from pipeline.entry import run
from pipeline.files import to_json, write_atomic
from pipeline.report import Reporter
from pipeline.stage import Stage
from pipeline.tasks.params import TaskParams
from pipeline.tasks.task import make_task


def main(stage: Stage, report: Reporter) -> None:
    result = prune(
        stage.dep("artifacts/dense"),
        stage.dep("data/prepared"),
        stage.out("artifacts/pruned"),
        stage.params("prune", PruneParams),
        make_task(stage.params("task", TaskParams)),
    )
    write_atomic(stage.out("reports/prune.json"), to_json(result.metrics()))
    report.metrics({f"prune/{name}": value for name, value in result.metrics().items()})


if __name__ == "__main__":
    run("prune", main)
