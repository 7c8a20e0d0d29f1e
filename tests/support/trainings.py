"""A training as it is seen from outside: validated steps, what MLflow has of it, and its workers' nodes."""

import sys

import psutil

from pipeline.tracking.journal import read_journal
from tests.support.project import Command, Project, training_workers, until

WITHOUT_TRAINING = ("artifacts", "exported", "reports/train", ".dvc/cache", ".dvc/tmp")
"""What is left out of a copy so that `dvc repro train` trains; prepared data stay."""
HISTORY = """
import sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///.espalier/mlflow/mlflow.db")
runs = client.search_runs(["1"], "tags.mlflow.runName = 'train'")
assert len(runs) == 1, [run.info for run in runs]
history = client.get_metric_history(runs[0].info.run_id, "val/score")
print(runs[0].info.status, *(point.step for point in history))
"""


def validated(project: Project) -> list[int]:
    """Steps at which the training in the project was validated so far."""
    journals = (project.root / ".espalier" / "journals").glob("train-*.jsonl")
    events = [
        event for journal in journals for event in read_journal(journal) if event.get("step") is not None
    ]
    return [event["step"] for event in events if "val/score" in event["values"]]


def mlflow_steps(project: Project) -> list[int]:
    """Steps of the validation results in the one run that the training has in MLflow."""
    status, *steps = project.run(sys.executable, "-c", HISTORY).expect_success().out.split()
    assert status == "FINISHED"
    return [int(step) for step in steps]


def reached(project: Project, epochs: int, command: Command) -> None:
    """Wait until the training that the command runs has validated so many epochs."""
    until(lambda: len(validated(project)) >= epochs, f"{epochs} epochs are validated", 600.0, command)


def nodes_with_workers(port: str) -> set[int]:
    """Raylets of the cluster whose head listens on `port` that are the parent of a training worker now; one
    is a node.
    """
    return set(workers_with_nodes(port).values())


def workers_with_nodes(port: str) -> dict[int, int]:
    """The training workers of that cluster, each with its raylet."""
    found = {}
    for worker in training_workers(psutil.process_iter()):
        try:
            raylet = psutil.Process(worker.ppid())
            if f":{port}" in " ".join(raylet.cmdline()):
                found[worker.pid] = raylet.pid
        except psutil.NoSuchProcess:
            continue
    return found
