"""On which nodes of infra/local_cluster.py the workers of a training are, and how many after a node went and
one came.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local_cluster import _start_node, _stop, _wait_until_started, local_cluster
from tests.chaos.test_chaos import newest_event
from tests.support.project import Project, fresh_project, until
from tests.support.trainings import nodes_with_workers, workers_with_nodes

LONG: dict[str, Any] = {"train": {"epochs": 2_000}, "resources": {"threads_per_worker": 1, "device": "cpu"}}
"""A training that no test waits for."""
STARTS_S = 180.0
RESIZED_S = 300.0


def start(project: Project, client: Mapping[str, str], **resources: Any) -> None:
    """Start the training, and wait until it goes on."""
    project.change_params(LONG)
    project.change_params({"resources": resources})
    project.start("dvc", "repro", "train", **client)
    under_way(project, STARTS_S)


def under_way(project: Project, seconds: float) -> None:
    since = time.time()
    until(
        lambda: any(project.root.glob(".espalier/journals/train-*")) and newest_event(project) > since,
        "it trains",
        seconds,
    )


@pytest.mark.parametrize(("placement", "nodes"), [("pack", 1), ("spread", 2)])
def test_two_workers_are_on_as_many_nodes_as_asked(placement: str, nodes: int, tmp_path: Path) -> None:
    with local_cluster(nodes=2, cpus_per_node=2) as client, fresh_project(tmp_path / "project") as project:
        start(project, client, workers=2, placement=placement)
        workers = workers_with_nodes(client["RAY_ADDRESS"].rpartition(":")[2])
        assert (len(workers), len({*workers.values()})) == (2, nodes)


@pytest.mark.timeout(900)
def test_an_elastic_training_shrinks_with_a_lost_node_and_grows_with_a_new_one(tmp_path: Path) -> None:
    with (
        local_cluster(nodes=2, cpus_per_node=1) as client,
        fresh_project(tmp_path / "project") as project,
        ExitStack() as ends,
    ):
        folder, port = Path(client["RAY_AUTH_TOKEN_PATH"]).parent, client["RAY_ADDRESS"].rpartition(":")[2]
        start(project, client, workers=2, min_workers=1)
        head, lost = sorted(nodes_with_workers(port), key=lambda pid: psutil.Process(pid).create_time())
        psutil.Process(lost).kill()
        until(lambda: {*workers_with_nodes(port).values()} == {head}, "its worker is gone", STARTS_S)
        under_way(project, RESIZED_S)
        assert nodes_with_workers(port) == {head}
        new = _start_node(2, client, 1, folder, ())
        ends.callback(_stop, [new])
        _wait_until_started(new, folder / "node-2.log")
        until(lambda: len(nodes_with_workers(port)) == 2, "a worker is on the new node", RESIZED_S)
        under_way(project, RESIZED_S)
        assert len(workers_with_nodes(port)) == 2
