"""A cluster of two nodes gives the same weights as two workers here; one that is not there is named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local_cluster import local_cluster
from tests.e2e.project import Project, copied_project, fresh_project, until
from tests.e2e.test_kill import WITHOUT_TRAINING

SHORT = {"train": {"epochs": 4}}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project trained by two workers on a local Ray."""
    with fresh_project(tmp_path_factory.mktemp("local")) as project:
        project.change_params(SHORT)
        project.run("dvc", "repro", "train").expect_success()
        yield project


def nodes_with_workers(port: str) -> set[int]:
    """Raylets of the cluster whose head listens on `port` that are the parent of a training worker now; one is a node."""
    parents = set()
    for process in psutil.process_iter():
        try:
            raylet = psutil.Process(process.ppid())
            if "RayTrainWorker" in " ".join(process.cmdline()) and f":{port}" in " ".join(raylet.cmdline()):
                parents.add(process.ppid())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return parents


def test_two_nodes_give_the_weights_of_two_local_workers(local: Project, tmp_path: Path) -> None:
    with (
        local_cluster(nodes=2, cpus_per_node=1) as client,
        copied_project(local, tmp_path, leave_out=WITHOUT_TRAINING) as project,
    ):
        command = project.start("dvc", "repro", "train", **client)
        until(
            lambda: len(nodes_with_workers(client["RAY_ADDRESS"].rpartition(":")[2])) == 2,
            "a worker runs on each of the two nodes",
            600.0,
        )
        command.wait().expect_success()
        assert project.digests("artifacts/dense") == local.digests("artifacts/dense")


@pytest.mark.parametrize(
    ("environment", "changes", "message"),
    [
        ({"RAY_ADDRESS": "127.0.0.1:1"}, {}, "no Ray cluster answers at 127.0.0.1:1; start one"),
        ({}, {"resources": {"device": "cuda"}}, "2 workers need 2 GPUs, but the cluster at this machine has 0"),
    ],
)
def test_a_cluster_that_cannot_do_it_is_named(
    local: Project, tmp_path: Path, environment: dict[str, str], changes: dict[str, object], message: str
) -> None:
    with copied_project(local, tmp_path, leave_out=WITHOUT_TRAINING) as project:
        project.change_params(changes)
        refused = project.run(sys.executable, "-m", "stages.train", **environment)
    assert refused.status == 1
    assert message in refused.err
    assert "Traceback" not in refused.err
