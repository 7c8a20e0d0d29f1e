"""What can happen to a cluster while it trains: every run ends in the weights of the undisturbed one.

Each fault once; as many times as FAULTS says with ESPALIER_FAULTS=all, which `make faults` sets (three
quarters of an hour).
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.hosts.hosts import Process
from tests.support.hosts.network import remains
from tests.support.hosts.observer import Observer
from tests.support.hosts.services import RUNS_DATABASE
from tests.support.hosts.topology import CPUS_PER_NODE, Topology, running_topology, unsupported
from tests.support.hosts.work import STORAGE, Work
from tests.support.project import training_workers, until

WORKERS = 3
UNDER_WAY_S = 240.0
ENDS_S = 600.0
EPOCHS = 60
LONGER = {"train": {"epochs": EPOCHS}}


@contextmanager
def training(
    logs: Path,
    folder: Path,
    *,
    cpus_per_node: int = CPUS_PER_NODE,
    changes: dict[str, Any] = LONGER,
    **resources: Any,
) -> Iterator[tuple[Topology, Work, Process]]:
    """A topology of its own with a submitted training whose first checkpoint is there."""
    if reason := unsupported():
        pytest.skip(reason)
    logs.mkdir()
    with running_topology(logs, cpus_per_node=cpus_per_node) as topology:
        work = Work(
            *(topology.client, folder, topology.ray.head.jobs_url),
            workers=WORKERS,
            storage=STORAGE,
            checkpoint_s=1.0,
            changes=changes,
            **resources,
        )
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


class Fault(NamedTuple):
    """inflict: does the damage, and returns when it is over. times: in the long form."""

    times: int
    inflict: Callable[[Topology], None]


def node_is_lost(topology: Topology) -> None:
    """The host of a worker that is not the first: pull its plug."""
    busy = [host for host in topology.workers if training_workers(host.processes())]
    busy[0].power_off()


def node_is_told_to_go(topology: Topology) -> None:
    """SIGTERM to `ray start`, as of a machine that is taken away: Ray drains the node."""
    busy = [node for node in topology.ray.nodes[1:] if training_workers(node.host.processes())]
    busy[0].running().signal(signal.SIGTERM)


def link_is_down(seconds: float) -> Callable[[Topology], None]:
    def inflict(topology: Topology) -> None:
        topology.workers[0].link_down()
        time.sleep(seconds)
        topology.workers[0].link_up()

    return inflict


def mlflow_is_down(topology: Topology) -> None:
    with topology.mlflow.stopped():
        time.sleep(20)


def mlflow_is_gone(topology: Topology) -> None:
    topology.mlflow.kill()


def s3_fails(topology: Topology) -> None:
    with topology.store.failing():
        time.sleep(30)


FAULTS = {
    "a node is lost": Fault(5, node_is_lost),
    "a node is told to go": Fault(3, node_is_told_to_go),
    "a link is down for 8 s": Fault(3, link_is_down(8)),
    "a link is down for 30 s": Fault(3, link_is_down(30)),
    "a link is down for 90 s": Fault(3, link_is_down(90)),
    "MLflow is down for 20 s": Fault(1, mlflow_is_down),
    "MLflow is down for good": Fault(1, mlflow_is_gone),
    "S3 answers 503 for 30 s": Fault(1, s3_fails),
}
ALL = os.environ.get("ESPALIER_FAULTS") == "all"
CASES = [(name, number) for name, fault in FAULTS.items() for number in range(fault.times if ALL else 1)]
KILLED_CLIENTS = 3 if ALL else 1
NO_STEP_LOST = {
    "a node is told to go",
    "a link is down for 8 s",
    "MLflow is down for 20 s",
    "MLflow is down for good",
}


@pytest.mark.parametrize(("name", "number"), CASES)
def test_the_weights_are_those_of_the_undisturbed_run(
    name: str, number: int, undisturbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        training(tmp_path / "logs", tmp_path / "project") as (topology, work, client),
        Observer(topology) as observer,
    ):
        fault = threading.Thread(target=FAULTS[name].inflict, args=(topology,))
        observer.mark()
        fault.start()
        status = client.wait(ENDS_S)
        seconds = observer.since_s()
        fault.join()
        with capsys.disabled():
            print(f"\n{name} ({number + 1}): {observer.summary()}, results after {seconds:.0f} s")  # noqa: T201
        assert status == 0, client.tail()
        assert work.dense() == undisturbed
        if name in NO_STEP_LOST:
            assert observer.lost_steps() == 0
        if name == "MLflow is down for good":
            check_later_delivery(topology, work)


def check_later_delivery(topology: Topology, work: Work) -> None:
    """The journal has all, and `espalier sync` brings it once MLflow is there again."""
    topology.mlflow.start()
    topology.mlflow.wait_ready()
    work.espalier("sync")
    points = topology.database.query(
        RUNS_DATABASE, "select count(*), count(distinct step) from metrics where key = 'val/score'"
    )
    assert points == f"{EPOCHS}|{EPOCHS}"


@pytest.mark.parametrize("number", range(KILLED_CLIENTS))
def test_a_killed_client_attaches_again(number: int, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    with training(tmp_path / "logs", tmp_path / "project") as (topology, work, client):
        client.kill()
        assert not work.path("dvc.lock").exists()
        done = work.espalier("attach", "--address", topology.ray.head.jobs_url)
        assert "train  epoch" in done.out
        assert work.dense() == undisturbed


EXACT = {"train": {"epochs": EPOCHS, "exact_elastic": True}}


def test_with_a_host_lost_for_good_it_goes_on_with_fewer_workers_to_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One CPU on each of three hosts: without one of them there is no room for three workers."""
    with (
        training(tmp_path / "logs", tmp_path / "project", cpus_per_node=1, changes=EXACT, min_workers=1) as (
            topology,
            work,
            client,
        ),
        Observer(topology) as observer,
    ):
        observer.mark()
        node_is_lost(topology)
        assert client.wait(ENDS_S) == 0, client.tail()
        with capsys.disabled():
            print(f"\na host is lost for good: {observer.summary()}")  # noqa: T201
        alone = Work(topology.services, tmp_path / "alone", "", workers=1, changes=EXACT)
        alone.run("dvc", "repro", "train")
        assert work.dense()["weights"] == alone.dense()["weights"]
        placement = work.dense()["provenance"]["placement"]
        assert placement == "3 workers x 1 threads on cpu, then 2 workers x 1 threads on cpu"
