"""Projects that several tests look at and none changes; made once, because a whole line takes a minute."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.project import Project, fresh_project


class Reproduced(NamedTuple):
    """complete: `dvc repro`. again: the same inputs in another folder, of which the stages in AGAIN and all before them ran."""

    complete: Project
    again: Project


AGAIN = ("evaluate@dense", "evaluate@quantized")
"""The fewest targets that need every stage but `register`, whose out holds timings."""


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reproduced]:
    """Two folders reproduced from scratch, side by side: a stage spends most of its time on one core, in imports."""
    with (
        fresh_project(tmp_path_factory.mktemp("complete")) as complete,
        fresh_project(tmp_path_factory.mktemp("again")) as again,
    ):
        commands = [complete.start("dvc", "repro"), again.start("dvc", "repro", *AGAIN)]
        for command in commands:
            command.wait().expect_success()
        yield Reproduced(complete, again)


@pytest.fixture(scope="session")
def complete(reproduced: Reproduced) -> Project:
    """After one `dvc repro`. Do not change it: copy it."""
    return reproduced.complete
