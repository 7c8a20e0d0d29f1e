"""What can happen to a cluster while it trains: every run ends in the weights of the undisturbed one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import Process
from tests.cluster.network import remains
from tests.cluster.topology import Topology, running_topology, unsupported
from tests.cluster.work import STORAGE, Work
from tests.e2e.project import training_workers, until

WORKERS = 3
UNDER_WAY_S = 240.0
ENDS_S = 600.0
EPOCHS = 60


@contextmanager
def training(logs: Path, folder: Path) -> Iterator[tuple[Topology, Work, Process]]:
    """A topology of its own with a submitted training whose first checkpoint is there."""
    if reason := unsupported():
        pytest.skip(reason)
    logs.mkdir()
    with running_topology(logs) as topology:
        jobs_url = topology.ray.head.jobs_url
        longer = {"train": {"epochs": EPOCHS}}
        work = Work(topology.client, folder, jobs_url, workers=WORKERS, storage=STORAGE, checkpoint_s=1.0, changes=longer)
        client = work.submit("train")
        until(
            lambda: "train  epoch" in client.log.read_text() or client.poll() is not None,
            "the training is under way",
            UNDER_WAY_S,
        )
        assert client.poll() is None, client.tail()
        yield topology, work, client
    assert remains(topology.network.marker) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with training(folder / "logs", folder / "project") as (_, work, client):
        assert client.wait(ENDS_S) == 0, client.tail()
        return work.dense()


def node_is_lost(topology: Topology, _: Work) -> None:
    """The host of a worker that is not the first: pull its plug."""
    busy = [host for host in topology.workers if training_workers(host.processes())]
    busy[0].power_off()


def link_is_down(seconds: float) -> Callable[[Topology, Work], None]:
    def fault(topology: Topology, _: Work) -> None:
        topology.workers[0].link_down()
        time.sleep(seconds)
        topology.workers[0].link_up()

    return fault


def mlflow_is_down(topology: Topology, _: Work) -> None:
    with topology.mlflow.stopped():
        time.sleep(20)


def s3_fails(topology: Topology, _: Work) -> None:
    with topology.store.failing():
        time.sleep(30)


FAULTS = {
    "a node is lost": node_is_lost,
    "a link is down for 8 s": link_is_down(8),
    "a link is down for 30 s": link_is_down(30),
    "a link is down for 90 s": link_is_down(90),
    "MLflow is down for 20 s": mlflow_is_down,
    "S3 answers 503 for 30 s": s3_fails,
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_weights_are_those_of_the_undisturbed_run(name: str, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    with training(tmp_path / "logs", tmp_path / "project") as (topology, work, client):
        start = time.monotonic()
        fault = threading.Thread(target=FAULTS[name], args=(topology, work))
        fault.start()
        status = client.wait(ENDS_S)
        fault.join()
        print(f"{name}: done {time.monotonic() - start:.0f} s after it")  # noqa: T201
        assert status == 0, client.tail()
        assert work.dense() == undisturbed


def test_a_killed_client_attaches_again(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    with training(tmp_path / "logs", tmp_path / "project") as (topology, work, client):
        client.kill()
        assert not work.path("dvc.lock").exists()
        done = work.espalier("attach", "--address", topology.ray.head.jobs_url)
        assert "train  epoch" in done.out
        assert work.dense() == undisturbed
