"""The program of the head: what it asks of the node, and what is left of a job that was stopped."""

import ast
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipeline.base.files import to_json
from pipeline.errors import EXIT_NODE_INCOMPLETE, SubmitError
from pipeline.jobs.results import fetch_results, leave_results, lock_digest
from pipeline.jobs.start import check_node, check_tracking
from pipeline.registry.submission import SUBMISSION_NAME, Submission
from tests.support.places import ROOT
from tests.support.project import sessions, until
from tests.support.submit_samples import PYPROJECT, commit, environment, project, run

MLFLOW = {"MLFLOW_TRACKING_URI": "http://nowhere"}
DVC_YAML = """
stages:
  first:
    cmd: >-
      echo first >> $PLACE/ran; echo 1 > one;
      test ! -e $PLACE/breaks || { rm -r $PLACE/remote; touch $PLACE/remote; }
    deps: [code.py]
    outs: [one]
  second:
    cmd: echo second >> $PLACE/ran; test ! -e $PLACE/sleeps || exec sleep 600; echo 2 > two
    deps: [one]
    outs: [two]
"""
"""After `first` the remote is a file, where the place says so, and `second` sleeps."""
FIRST_IS_DONE = yaml.safe_dump(
    {
        "schema": "2.0",
        "stages": {
            "first": {
                "cmd": yaml.safe_load(DVC_YAML)["stages"]["first"]["cmd"],
                "deps": [
                    {
                        "path": "code.py",
                        "hash": "md5",
                        "md5": hashlib.md5(b"x = 1\n", usedforsecurity=False).hexdigest(),
                    }
                ],
                "outs": [
                    {
                        "path": "one",
                        "hash": "md5",
                        "md5": hashlib.md5(b"1\n", usedforsecurity=False).hexdigest(),
                    }
                ],
            }
        },
    }
)
"""A dvc.lock, wherever its outputs may be."""
HEAD = (
    sys.executable,
    "-c",
    "import pathlib, sys; from pipeline.jobs.head import run_tree; sys.exit(run_tree(pathlib.Path(), ()))",
)
"""Without a second attempt to send."""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def test_a_node_with_all_that_is_needed_passes(node: Path) -> None:
    check_node(node, (3, 11, 0))
    check_node(ROOT, sys.version_info[:3])
    check_tracking(MLFLOW)


def test_what_a_node_lacks_is_named(node: Path) -> None:
    with pytest.raises(SubmitError, match=r"the head has Python 3.10.12; all nodes need 3.11 or later"):
        check_node(node, (3, 10, 12))
    with pytest.raises(SubmitError, match="MLFLOW_TRACKING_URI is not set on the head"):
        check_tracking({})
    (node / "pyproject.toml").write_text(
        '[project]\ndependencies = ["pydantic>=2", "absent-one[x]>=1", "absent.two<3"]\n'
    )
    with pytest.raises(
        SubmitError, match=r"lacks absent-one, absent.two; install requirements.txt there and on every node"
    ):
        check_node(node, (3, 11, 0))


def test_an_old_python_gets_as_far_as_the_check() -> None:
    """What is imported before it is written in the words of Python 3.8 and needs none of its
    later modules.
    """
    words = [sys.executable, "-S", "-c", "import sys, pipeline.jobs.start; print(*sys.modules)"]
    found = set(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert not found & {"graphlib", "tomllib", "zoneinfo"}
    ours = {name.replace(".", "/") for name in found if name.startswith("pipeline")}
    files = [
        path for name in ours for path in (ROOT / f"{name}.py", ROOT / name / "__init__.py") if path.exists()
    ]
    assert {path.name for path in files} == {"__init__.py", "errors.py", "start.py"}
    for path in files:
        ast.parse(path.read_text(), feature_version=(3, 8))
    start = (ROOT / "pipeline" / "jobs" / "start.py").read_text()
    assert "\nfrom __future__ import annotations\n" in start, (
        "Python 3.8 would evaluate tuple[int, ...], which it lacks"
    )


def test_it_starts_with_the_standard_library_alone(node: Path) -> None:
    """Where nothing is installed, the job says so in one line."""
    command = [sys.executable, "-S", "-m", "pipeline.jobs.start"]
    done = subprocess.run(
        command, cwd=node, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_NODE_INCOMPLETE
    assert done.stderr.startswith("espalier job: the head's Python (")
    assert done.stderr.endswith("lacks dvc, pydantic; install requirements.txt there and on every node\n")


def test_a_folder_that_was_not_submitted_is_refused(node: Path) -> None:
    command = [sys.executable, "-m", "pipeline.jobs.start"]
    done = subprocess.run(
        command, cwd=node, env=environment() | MLFLOW, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "espalier job: this folder is no submitted tree; use `espalier submit`\n",
    )


def submission(storage: Path, job: str = "job-1", jobs: int = 1, lock: str = "") -> Submission:
    return Submission(
        job=job, targets=[], jobs=jobs, storage=str(storage), lock=lock, git_commit="0", git_dirty=False
    )


@dataclass
class Place:
    """A project whose stages note that they ran, with the folders that stand for its remote and
    its storage.
    """

    folder: Path

    def __post_init__(self) -> None:
        root = project(self.folder / "project", self.storage, self.remote)
        (root / "dvc.yaml").write_text(DVC_YAML)
        commit(root)

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def remote(self) -> Path:
        return self.folder / "remote"

    @property
    def ran(self) -> list[str]:
        return (self.folder / "ran").read_text().split()

    def tree(self, job: str, *, jobs: int = 1, lock: str | None = None) -> Path:
        """What a job is sent."""
        root = self.folder / job
        run(self.folder, "git", "clone", "-q", "project", job)
        if lock is not None:
            (root / "dvc.lock").write_text(lock)
        (root / SUBMISSION_NAME).write_text(
            to_json(submission(self.storage, job, jobs, lock_digest(root)).model_dump())
        )
        return root

    def start(self, root: Path) -> "subprocess.Popen[str]":
        variables = environment() | MLFLOW | {"PLACE": str(self.folder)}
        return subprocess.Popen(
            HEAD, cwd=root, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, root: Path) -> tuple[int, str]:
        """The job's exit status and what it says."""
        with self.start(root) as head:
            said, _ = head.communicate(timeout=120)
            return head.returncode, said

    def lock(self, job: str) -> str:
        """dvc.lock, as it comes back."""
        client = self.folder / f"client of {job}"
        assert fetch_results(job, str(self.storage), client)
        return (client / "dvc.lock").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def locked(lock: str) -> list[str]:
    return list(yaml.safe_load(lock)["stages"])


@contextmanager
def sleeping(place: Place, root: Path) -> Iterator["subprocess.Popen[str]"]:
    """A job whose second stage is at work, for ten minutes."""
    (place.folder / "sleeps").touch()
    head = place.start(root)
    try:
        until(
            lambda: (place.folder / "ran").exists() and place.ran[-1] == "second", "the second stage runs", 60
        )
        yield head
    finally:
        for process in sessions({head.pid}):
            process.kill()
        head.communicate()


def test_a_job_that_is_stopped_leaves_its_results(place: Place) -> None:
    """As Ray stops it: SIGTERM to the program and to all that it started, and others later."""
    with sleeping(place, place.tree("job-1", jobs=2)) as head:
        os.killpg(head.pid, signal.SIGTERM)
        while head.poll() is None:
            head.terminate()
            time.sleep(0.02)
        assert head.returncode == 143
        until(lambda: sessions({head.pid}) == [], "all that it started has ended", 30)
    assert locked(place.lock("job-1")) == ["first"]


def test_what_is_done_survives_a_head_that_is_lost(place: Place) -> None:
    with sleeping(place, place.tree("job-1")):
        pass
    (place.folder / "sleeps").unlink()
    status, said = place.run(place.tree("job-2"))
    assert status == 0, said
    assert "Stage 'first' is cached - skipping run" in said
    assert place.ran == ["first", "second", "second"]
    assert locked(place.lock("job-2")) == ["first", "second"]


def test_no_output_is_named_that_is_not_in_the_remote(place: Place) -> None:
    """Else the next job would take it for done, and nobody would have it."""
    (place.folder / "breaks").touch()
    status, said = place.run(place.tree("job-1"))
    assert status == 1
    assert f"espalier job: the DVC remote 'store' ({place.remote}) takes no file: " in said
    assert "espalier job: failed: first, see above; not run: second" in said
    assert said.splitlines()[-1].startswith(
        "espalier job: lost with this job: the outputs of first. Mend the DVC remote;"
    )
    assert locked(place.lock("job-1")) == []

    (place.folder / "breaks").unlink()
    place.remote.unlink()
    place.remote.mkdir()
    status, said = place.run(place.tree("job-2", lock=FIRST_IS_DONE))
    assert "the DVC remote lacks outputs of first, which are made again where they are needed" in said
    assert status == 0
    assert place.ran == ["first", "first", "second"]
    client = place.tree("client", lock=place.lock("job-2"))
    run(client, "dvc", "pull", "-q")
    assert (client / "two").read_text() == "2\n"


def test_a_remote_that_the_head_cannot_use_is_said_before_anything_runs(place: Place) -> None:
    place.remote.rmdir()
    place.remote.touch()
    head = subprocess.run(
        [sys.executable, "-m", "pipeline.jobs.start"],
        cwd=place.tree("job-1"),
        env=environment() | MLFLOW,
        capture_output=True,
        text=True,
        check=False,
    )
    assert head.returncode == 1
    assert head.stderr.startswith(f"espalier job: the DVC remote 'store' ({place.remote}) takes no file: ")
    assert not (place.folder / "ran").exists()


def test_journals_come_back_with_their_records(tmp_path: Path) -> None:
    """Without which `espalier sync` here could not send what the head could not."""
    (tmp_path / "storage").mkdir()
    journals = tmp_path / "head" / ".espalier" / "journals"
    journals.mkdir(parents=True)
    for name in ("train-1.jsonl", "train-1.run.json", "train-1.lock"):
        (journals / name).write_text(name)
    leave_results(submission(tmp_path / "storage"), tmp_path / "head")
    assert fetch_results("job-1", str(tmp_path / "storage"), tmp_path / "client")
    found = {
        path.name: path.read_text() for path in (tmp_path / "client" / ".espalier" / "journals").iterdir()
    }
    assert found == {"train-1.jsonl": "train-1.jsonl", "train-1.run.json": "train-1.run.json"}


@pytest.mark.parametrize(
    ("here", "is_taken"), [("old", True), ("new", True), (None, True), ("another", False)]
)
def test_results_replace_only_what_the_job_went_on_from(
    tmp_path: Path, here: str | None, is_taken: bool
) -> None:
    client, head, storage = (tmp_path / name for name in ("client", "head", "storage"))
    for folder, text in ((client, "old"), (head, "new"), (storage, None)):
        folder.mkdir()
        if text:
            (folder / "dvc.lock").write_text(text)
    leave_results(submission(storage, lock=lock_digest(client)), head)
    (client / "dvc.lock").unlink()
    if here:
        (client / "dvc.lock").write_text(here)
    if is_taken:
        assert fetch_results("job-1", str(storage), client)
    else:
        with pytest.raises(
            SubmitError, match=r"dvc.lock has changed here since job-1 .* run `espalier attach job-1`"
        ):
            fetch_results("job-1", str(storage), client)
    assert (client / "dvc.lock").read_text() == ("new" if is_taken else "another")
