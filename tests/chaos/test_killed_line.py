"""SIGKILL at random moments of a whole line, of the process group, dvc or the stage; then `make repro`, as a
user would.

In the end the outs are those of a line that nobody disturbed, and no process, temporary folder or held lock
is left. What the moments that a random kill rarely meets do is in tests/stages/test_orphans.py and
tests/unit/repro/test_mend.py.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.process.leftovers import SCRATCH, is_held
from pipeline.repro.mend import faults_of_dvc
from tests.support.project import MADE, POLL_S, Command, Project, copied_project, fresh_project, named, until

KILLS = int(os.environ.get("ESPALIER_KILLS", "24"))
A_LINE = 8
"""Kills of one line at most, after which it may go on to its end."""
LONGEST_S = float(os.environ.get("ESPALIER_KILL_WITHIN_S", "20"))
"""From the start of `make repro` to a kill at most: a training, the longest stage, goes on from its
checkpoints."""
SHORT = {"train": {"epochs": 2}, "finetune": {"epochs": 1}, "register": {"min_score": 0.05}}
OUTS = ("artifacts", "exported", "data/prepared")
"""What repeats to the byte; reports hold timings too."""
REPRO = ("make", "-o", ".venv/ready", "repro")
"""Without making an environment, which is there."""
STAGE = re.compile(r"-m stages\.\w+")
ENDS_S = 60.0
COMMAND_S = 3000.0


def kill_group(command: Command, _project: Project) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(command.process.pid, signal.SIGKILL)
        return True
    return False


def kill_dvc(_command: Command, project: Project) -> bool:
    return killed(named(project, "bin/dvc repro"))


def kill_stage(_command: Command, project: Project) -> bool:
    return killed(next((process for process in project.processes() if STAGE.search(words(process))), None))


def words(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def killed(process: psutil.Process | None) -> bool:
    with suppress(psutil.NoSuchProcess):
        if process:
            process.kill()
            return True
    return False


KINDS: tuple[Callable[[Command, Project], bool], ...] = (kill_group, kill_dvc, kill_stage)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with fresh_project(tmp_path_factory.mktemp("undisturbed")) as project:
        project.change_params(SHORT)
        project.start(*REPRO).wait(COMMAND_S).expect_success()
        until(lambda: not project.processes(), "the last couriers end", ENDS_S)
        yield project


@pytest.mark.timeout(4 * 3600)
def test_killed_anywhere_the_same_command_ends_in_the_same_outs(
    undisturbed: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, kills = random.Random(0), 0
    while kills < KILLS:
        with copied_project(
            undisturbed, tmp_path / str(kills), leave_out=(*MADE, "data/prepared")
        ) as project:
            (project.root / "dvc.lock").unlink()
            kills += disturb(project, chance, kills)
            project.start(*REPRO).wait(COMMAND_S).expect_success()
            until(lambda project=project: not project.processes(), "the last couriers end", ENDS_S)  # type: ignore[misc]
            check(project, undisturbed)
            with capsys.disabled():
                print(f"\n{kills} kills")  # noqa: T201
        shutil.rmtree(project.root)


def disturb(project: Project, chance: random.Random, before: int) -> int:
    """Kill again and again, the three kinds in turn, until it was enough or the line is made.

    Returns how often. Raises AssertionError if the command fails though nothing of it was killed.
    """
    most, command = min(A_LINE, KILLS - before), project.start(*REPRO)
    is_new = True
    for kills in range(most):
        hit, kind = False, KINDS[(before + kills) % len(KINDS)]
        while not hit:
            if command.process.poll() is not None:
                command, is_new = project.start(*REPRO), True
            with suppress(subprocess.TimeoutExpired):
                command.process.wait(chance.uniform(0, LONGEST_S))
            while command.process.poll() is None and not (hit := kind(command, project)):
                time.sleep(POLL_S)  # until there is one to kill
            if not hit and is_new:
                command.wait().expect_success()
            if command.process.poll() == 0:
                return kills + hit
        is_new = False
        if kind is not kill_dvc:  # after that alone make goes on by itself
            command.wait()
    command.wait()
    return most


def temporary(project: Project) -> set[str]:
    """What lies in the project's temporary folder beside logs of the test: libraries keep caches there."""
    return {path.name for path in project.scratch.iterdir() if not path.name.startswith("log-")}


def check(project: Project, undisturbed: Project) -> None:
    assert project.digests(*OUTS) == undisturbed.digests(*OUTS)
    assert set(project.lock()) == set(undisturbed.lock())
    assert list(faults_of_dvc(project.root)) == []
    state = project.root / ".espalier"
    assert [path for path in state.rglob("*.lock") if is_held(path)] == []
    assert [path for path in (project.root / SCRATCH).iterdir() if path.is_dir()] == []
    assert list((state / "runs").iterdir()) == []
    assert temporary(project) <= temporary(undisturbed)
    partial = [
        path
        for folder in ("artifacts", "exported", "reports", "data")
        for path in (project.root / folder).rglob(".*")
    ]
    assert [path for path in partial if path.name != ".gitignore"] == []
