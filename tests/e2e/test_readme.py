"""README's everyday commands and its Python snippets, run as they are printed on a line that is finished."""

import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.support.documents import LEFT_OUT_OF_TEST, README, blocks, commands
from tests.support.printed import as_installed, run_printed
from tests.support.project import Project, opened_project

RUN = [command for command in dict.fromkeys(commands(README)) if command not in LEFT_OUT_OF_TEST]
FINDS = "espalier doctor"
"""Ends with 1 where this machine has a problem, as a port in use."""


@pytest.fixture(scope="module")
def everyday(complete: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The finished line with its registry, in another folder."""
    root = tmp_path_factory.mktemp("everyday") / "project"
    shutil.copytree(complete.root, root, symlinks=True)
    as_installed(root)
    with opened_project(root) as project:
        yield project


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_readme_works_as_printed(everyday: Project, command: str) -> None:
    done = run_printed(everyday, command)
    assert done.status in ({0, 1} if command == FINDS else {0}), f"{done.out}\n{done.err}"
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize("snippet", blocks(README, "python"))
def test_a_snippet_of_readme_works_as_printed(everyday: Project, snippet: str) -> None:
    before = {path.name for path in everyday.root.iterdir()}
    done = everyday.run(sys.executable, "-P", "-c", snippet).expect_success()
    assert "probability" in done.out, "it prints answers"
    assert {path.name for path in everyday.root.iterdir()} == before, (
        "nothing is left beside the project's own files"
    )


def test_a_command_that_does_not_work_is_found(everyday: Project) -> None:
    done = run_printed(everyday, "espalier preset nobody")
    assert done.status != 0
