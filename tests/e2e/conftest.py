"""Lines that several tests look at and none changes; made once each, because a whole line takes minutes."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra.local_cluster import local_cluster
from pipeline.base.files import locked
from tests.support.project import (
    COMMAND_TIMEOUT_S,
    Command,
    Project,
    fresh_project,
    open_to_others,
    opened_project,
    until,
)
from tests.support.trainings import nodes_with_workers

LONGEST_FIRST = (
    "test_kill",
    "test_repro",
    "test_champion",
    "test_refused_by_ray",
    "test_bad_input",
    "test_frontier",
    "test_readme",
    "test_damages",
)
"""Files in the order in which pytest's workers take them, before those of all other tiers.

Who takes the first makes `complete`, who takes the second makes `again` beside it, and others begin with what
needs neither. A worker whose file has a single test takes the next one ahead, so that after test_kill and
those before it comes one that may be late. By itself xdist would begin with the files of most tests, and end
with a long one on one core. Other tiers use the cores while these tests wait for processes to start.
"""
AGAIN = ("compare",)
"""The target that needs every stage but `register`, whose out holds timings."""
LOOK_S = 0.5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = Path(__file__).parent
    order = {ours / f"{name}.py": number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


class Line(NamedTuple):
    """A finished line.

    nodes: on how many nodes of its cluster a worker was seen training at the same moment. exposed: what in
    its temporary folder another user of the machine could have written to, while it was made.
    """

    project: Project
    nodes: int
    exposed: list[str]


@pytest.fixture(scope="session")
def first_line(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Line]:
    """Made by `dvc repro` with a local Ray."""
    with made_once("complete", complete_line, tmp_path_factory.getbasetemp(), worker_id) as line:
        yield line


@pytest.fixture(scope="session")
def complete(first_line: Line) -> Project:
    """After one `dvc repro`. Do not change it: copy it."""
    return first_line.project


@pytest.fixture(scope="session")
def again(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Line]:
    """The same inputs in another folder: `espalier repro` of the stages in AGAIN and all before them, some
    side by side, on a cluster of two nodes, with a umask of 077.
    """
    with made_once("again", line_on_two_nodes, tmp_path_factory.getbasetemp(), worker_id) as line:
        yield line


@contextmanager
def made_once(
    name: str, make: Callable[[Project], dict[str, Any]], own: Path, worker_id: str
) -> Iterator[Line]:
    """Made by the one of pytest's workers that comes first; the others wait for it."""
    shared = own if worker_id == "master" else own.parent
    root, seen = shared / name, shared / f"{name}.json"
    with locked(shared / f"{name}.lock", wait_s=COMMAND_TIMEOUT_S, what="the line of the tests"):
        if not seen.exists():
            with fresh_project(root) as project:
                found = make(project)
                until(lambda: not project.processes(), "the last courier ends", 30.0)
            seen.write_text(json.dumps(found))
    with opened_project(root) as project:
        yield Line(project, **json.loads(seen.read_text()))


def complete_line(project: Project) -> dict[str, Any]:
    return watched(project, project.start("dvc", "repro"), set)


def line_on_two_nodes(project: Project) -> dict[str, Any]:
    with local_cluster(nodes=2, cpus_per_node=1) as client:
        port = client["RAY_ADDRESS"].rpartition(":")[2]
        espalier = (sys.executable, "-m", "pipeline.cli", "repro", "--jobs", "3")
        project.umask = 0o077
        return watched(project, project.start(*espalier, *AGAIN, **client), lambda: nodes_with_workers(port))


def watched(project: Project, command: Command, training_nodes: Callable[[], set[int]]) -> dict[str, Any]:
    """What a Line says was seen until the command ended. Raises AssertionError if it failed."""
    nodes, exposed = 0, set[Path]()
    while command.process.poll() is None:
        nodes = max(nodes, len(training_nodes()))
        exposed |= open_to_others(project.scratch, 0o022)
        time.sleep(LOOK_S)
    command.wait().expect_success()
    return {"nodes": nodes, "exposed": sorted(map(str, exposed))}
