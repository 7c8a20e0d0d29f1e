"""Projects that several tests look at and none changes; made once, because a whole line takes a minute."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from infra.local_cluster import local_cluster
from pipeline.files import locked
from tests.support.project import (
    COMMAND_TIMEOUT_S,
    Project,
    fresh_project,
    open_to_others,
    opened_project,
    training_workers,
    until,
)

AGAIN = ("compare",)
"""The target that needs every stage but `register`, whose out holds timings."""
LOOK_S = 0.5


class Reproduced(NamedTuple):
    """Two folders with the same inputs.

    complete: `dvc repro` with a local Ray. again: `espalier repro` of the stages in AGAIN and all before
    them, some side by side, on a cluster of two nodes, with a umask of 077. nodes: on how many nodes of that
    cluster a worker was seen training at the same moment. exposed: what in temporary folders another user of
    the machine could have written to, while the two were made.
    """

    complete: Project
    again: Project
    nodes: int
    exposed: list[str]


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Reproduced]:
    """Made by the one of pytest's workers that comes first; the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    first, second, seen = shared / "complete", shared / "again", shared / "seen.json"
    with locked(shared / "reproduced.lock", wait_s=COMMAND_TIMEOUT_S, what="the projects of the tests"):
        if not seen.exists():
            seen.write_text(json.dumps(reproduce(first, second)))
    with opened_project(first) as complete, opened_project(second) as again:
        yield Reproduced(complete, again, **json.loads(seen.read_text()))


def reproduce(first: Path, second: Path) -> dict[str, Any]:
    """Both from scratch, side by side: a stage spends most of its time on one core, in imports.

    Returns what was seen.
    """
    with (
        fresh_project(first) as complete,
        fresh_project(second) as again,
        local_cluster(nodes=2, cpus_per_node=1) as client,
    ):
        port = client["RAY_ADDRESS"].rpartition(":")[2]
        espalier = (sys.executable, "-m", "pipeline.cli", "repro", "--jobs", "3")
        again.umask = 0o077
        commands = [complete.start("dvc", "repro"), again.start(*espalier, *AGAIN, **client)]
        nodes, exposed = 0, set[Path]()
        while any(command.process.poll() is None for command in commands):
            nodes = max(nodes, len(nodes_with_workers(port)))
            exposed |= {
                path for folder in (complete.scratch, again.scratch) for path in open_to_others(folder, 0o022)
            }
            time.sleep(LOOK_S)
        for command in commands:
            command.wait().expect_success()
        until(lambda: not complete.processes() + again.processes(), "the last couriers end", 30.0)
    return {"nodes": nodes, "exposed": sorted(map(str, exposed))}


@pytest.fixture(scope="session")
def complete(reproduced: Reproduced) -> Project:
    """After one `dvc repro`. Do not change it: copy it."""
    return reproduced.complete


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
