"""A stage whose `dvc` is killed at a moment that a random kill rarely meets: real dvc, a stage that imports
slowly.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.project import sessions, until
from tests.support.submit_samples import environment, repository

WORK = """
import os, sys, time
from pathlib import Path

def wait(what):
    end = time.monotonic() + 60
    while not Path(what).exists():
        assert time.monotonic() < end, what
        time.sleep(0.02)

Path("imports.here").touch()
wait("imported.here")  # as long as torch and Ray need
from pipeline.entry import die_with_dvc

if "UNWATCHED" not in os.environ:
    die_with_dvc()
Path("works.here").touch()
wait("worked.here")
Path("made").write_text("made")
"""
DVC_YAML = "stages:\n  only: {cmd: 'python work.py 2> said; exit $?', deps: [work.py], outs: [made]}\n"
"""A shell stays between dvc and the stage, as in a command of several words it does."""
DVC = (sys.executable, "-m", "dvc", "repro")
ESPALIER = (sys.executable, "-m", "pipeline.cli", "repro")
API = (sys.executable, "-c", "from dvc.repo import Repo; Repo().reproduce()")
"""As a notebook does: no word of its command line says dvc."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = repository(tmp_path / "project")
    (root / "work.py").write_text(WORK)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("/made\n/said\n*.here\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    return root


@contextmanager
def started(root: Path, words: tuple[str, ...], **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A repro whose stage imports; all that it started ends with the block."""
    environ = {
        name: value for name, value in environment().items() if not name.startswith("DVC_")
    } | variables
    process = subprocess.Popen(
        words,
        cwd=root,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until((root / "imports.here").exists, "the stage imports", 60)
        yield process
    finally:
        for left in [process, *sessions({process.pid}), *stages(root)]:
            left.kill()
        process.wait()


def stages(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "work.py" in " ".join(process.info["cmdline"] or []) and process.info["cwd"] == str(root):
            found.append(process)
    return found


def go_on(root: Path, *moments: str) -> None:
    for moment in moments:
        (root / f"{moment}.here").touch()


@pytest.mark.parametrize("words", [DVC, API], ids=["dvc", "api"])
def test_killed_while_the_stage_imports_it_ends_before_it_writes(root: Path, words: tuple[str, ...]) -> None:
    with started(root, words) as dvc:
        dvc.kill()
        dvc.wait()
        go_on(root, "imported", "worked")
        until(lambda: not stages(root), "the stage ends", 60)
        assert "the dvc that started this stage is gone" in (root / "said").read_text()
        assert not (root / "works.here").exists()


def test_its_twin_that_does_not_look_goes_on_and_writes(root: Path) -> None:
    with started(root, DVC, UNWATCHED="1") as dvc:
        dvc.kill()
        dvc.wait()
        go_on(root, "imported", "worked")
        until((root / "made").exists, "the orphan writes", 60)


@pytest.mark.parametrize("words", [DVC, API, ESPALIER], ids=["dvc", "api", "espalier"])
def test_with_a_living_dvc_it_works_and_killed_then_it_ends(root: Path, words: tuple[str, ...]) -> None:
    with started(root, words) as dvc:
        go_on(root, "imported")
        until((root / "works.here").exists, "the stage works", 60)
        dvc.kill()
        dvc.wait()
        until(lambda: not stages(root), "the stage ends", 60)
        assert not (root / "made").exists()


def test_the_shell_between_killed_alone_ends_the_stage_too(root: Path) -> None:
    with started(root, DVC) as dvc:
        go_on(root, "imported")
        until((root / "works.here").exists, "the stage works", 60)
        (shell,) = psutil.Process(dvc.pid).children()
        assert [child.pid for child in shell.children()], "a shell stands between"
        shell.kill()
        until(lambda: not stages(root), "the stage ends", 60)
        assert dvc.wait(60) != 0


def test_after_either_kill_the_same_command_makes_it(root: Path) -> None:
    with started(root, DVC) as dvc:
        os.killpg(dvc.pid, signal.SIGKILL)
        dvc.wait()
    go_on(root, "imported", "worked")
    environ = {name: value for name, value in environment().items() if not name.startswith("DVC_")}
    done = subprocess.run(DVC, cwd=root, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "made").read_text() == "made"
