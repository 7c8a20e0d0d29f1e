"""`dvc repro` on a machine that is no node of the cluster: training there, through the job server and the
storage.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts.hosts import Process
from tests.support.hosts.topology import TOOLS, Topology
from tests.support.hosts.work import AUTHOR, PROJECT, STORAGE, Work
from tests.support.project import running_stages, training_workers, until

WORKERS = 3
UNDER_WAY_S = 240.0
ENDS_S = 600.0
STOPPED_S = 30.0
SILENT_S = 120.0
LONGER = {"train": {"epochs": 60}}


@pytest.fixture(scope="module")
def undisturbed(installation: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The model of the same training on one host."""
    alone = installation.network.add_host("alone")
    try:
        alone.environment.update(TOOLS)
        work = Work(alone, tmp_path_factory.mktemp("alone") / "project", "", workers=WORKERS, changes=LONGER)
        work.run("dvc", "repro", "train")
        yield work.dense()
    finally:
        alone.kill()


@pytest.fixture
def work(installation: Topology, tmp_path: Path) -> Work:
    jobs_url = installation.ray.head.jobs_url
    return Work(
        *(installation.client, tmp_path / "project", jobs_url),
        workers=WORKERS,
        storage=STORAGE,
        address=jobs_url,
        checkpoint_s=1.0,
        changes=LONGER,
    )


def repro(work: Work) -> Process:
    """Start `dvc repro train`, until its training is under way."""
    process = work.host.start(["dvc", "repro", "train"], AUTHOR, cwd=PROJECT)
    until(
        lambda: "train  epoch" in process.log.read_text() or process.poll() is not None,
        "it trains",
        UNDER_WAY_S,
    )
    assert process.poll() is None, process.tail()
    return process


def trains(installation: Topology) -> bool:
    return any(training_workers(host.processes()) for host in [installation.head, *installation.workers])


def running_jobs(installation: Topology) -> list[dict[str, Any]]:
    return [job for job in installation.jobs() if job["status"] in {"PENDING", "RUNNING"}]


def test_the_bytes_are_those_of_one_host(
    installation: Topology, work: Work, undisturbed: dict[str, Any]
) -> None:
    process = repro(work)
    assert process.wait(ENDS_S) == 0, process.tail()
    shown = process.log.read_text()
    assert running_stages(shown) == ["prepare", "train"]
    assert "Traceback" not in shown
    assert work.dense() == undisturbed
    assert work.dense()["provenance"]["placement"] == f"{WORKERS} workers x 1 threads on cpu"
    assert running_jobs(installation) == []
    assert work.run("dvc", "repro", "train").out.count("didn't change, skipping") == 2


def test_interrupted_it_stops_its_job_and_goes_on_at_the_next_repro(
    installation: Topology, work: Work, undisturbed: dict[str, Any]
) -> None:
    process = repro(work)
    for member in process.members():  # as a terminal does
        member.send_signal(signal.SIGINT)
    assert process.wait(STOPPED_S) != 0
    until(lambda: not trains(installation), "no worker trains", STOPPED_S)
    again = repro(work)
    assert again.wait(ENDS_S) == 0, again.tail()
    assert work.dense() == undisturbed


@pytest.mark.parametrize("is_repeated", [True, False], ids=["repeated", "silent"])
def test_killed_it_takes_the_training_along(
    installation: Topology, work: Work, undisturbed: dict[str, Any], is_repeated: bool
) -> None:
    """At once where it is started again, else when it was silent for a minute."""
    repro(work).kill()
    assert trains(installation)
    if is_repeated:
        left = {job["submission_id"] for job in running_jobs(installation)}
        again = repro(work)
        assert not left & {job["submission_id"] for job in running_jobs(installation)}
        assert again.wait(ENDS_S) == 0, again.tail()
        assert work.dense() == undisturbed
    else:
        until(lambda: not trains(installation), "no worker trains", SILENT_S)
        until(lambda: not running_jobs(installation), "its job is over", STOPPED_S)
