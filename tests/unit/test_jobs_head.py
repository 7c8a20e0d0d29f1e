"""The program of the head: what it asks of the node, and what is left of a job that was stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.errors import SubmitError
from pipeline.files import to_json
from pipeline.jobs.results import fetch_results, leave_results
from pipeline.jobs.start import check_node
from pipeline.submission import SUBMISSION_NAME, Submission
from tests.e2e.project import sessions, until
from tests.unit.submit_samples import PYPROJECT, ROOT, environment, project

MLFLOW = {"MLFLOW_TRACKING_URI": "http://nowhere"}
SLEEPER = """
stages:
  first:
    cmd: python -c "open('one', 'w').write('1')"
    deps: [code.py]
    outs: [one]
  second:
    cmd: touch started; exec sleep 600
    deps: [one]
    outs: [two]
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def test_a_node_with_all_that_is_needed_passes(node: Path) -> None:
    check_node(node, (3, 11, 0), MLFLOW)
    check_node(ROOT, sys.version_info[:3], MLFLOW)


def test_what_a_node_lacks_is_named(node: Path) -> None:
    with pytest.raises(SubmitError, match=r"the head has Python 3.10.12; all nodes need 3.11 or later"):
        check_node(node, (3, 10, 12), MLFLOW)
    with pytest.raises(SubmitError, match="MLFLOW_TRACKING_URI is not set on the head"):
        check_node(node, (3, 11, 0), {})
    (node / "pyproject.toml").write_text('[project]\ndependencies = ["pydantic>=2", "absent-one[x]>=1", "absent.two<3"]\n')
    with pytest.raises(SubmitError, match=r"lacks absent-one, absent.two; install requirements.txt there and on every node"):
        check_node(node, (3, 11, 0), MLFLOW)


def test_it_starts_with_the_standard_library_alone(node: Path) -> None:
    """Where nothing is installed, the job says so in one line."""
    command = [sys.executable, "-S", "-m", "pipeline.jobs.start"]
    done = subprocess.run(command, cwd=node, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("espalier job: the head's Python (")
    assert done.stderr.endswith("lacks dvc, pydantic; install requirements.txt there and on every node\n")


def test_a_folder_that_was_not_submitted_is_refused(node: Path) -> None:
    command = [sys.executable, "-m", "pipeline.jobs.start"]
    done = subprocess.run(command, cwd=node, env=environment() | MLFLOW, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "espalier job: this folder is no submitted tree; use `espalier submit`\n")


def test_a_job_that_is_stopped_leaves_its_results(tmp_path: Path) -> None:
    """As Ray stops it: SIGTERM to the program and to all that it started, and another one later."""
    root, storage = project(tmp_path / "project", tmp_path / "storage", tmp_path / "remote"), tmp_path / "storage"
    (root / "dvc.yaml").write_text(SLEEPER)
    order = Submission(job="job-1", targets=[], jobs=2, storage=str(storage), git_commit="0", git_dirty=False)
    (root / SUBMISSION_NAME).write_text(to_json(order.model_dump()))
    head = subprocess.Popen(
        [sys.executable, "-m", "pipeline.jobs.start"], cwd=root, env=environment() | MLFLOW, start_new_session=True
    )
    try:
        until((root / "started").exists, "the second stage runs", 60)
        os.killpg(head.pid, signal.SIGTERM)
        until(lambda: head.poll() is not None or "push" in _commands(head.pid), "the outputs are being sent", 30)
        os.killpg(head.pid, signal.SIGTERM)
        assert head.wait(60) == 143
        assert sessions({head.pid}) == []
    finally:
        for process in sessions({head.pid}):
            process.kill()
        head.wait()
    (tmp_path / "client").mkdir()
    assert fetch_results("job-1", str(storage), tmp_path / "client")
    lock = yaml.safe_load((tmp_path / "client" / "dvc.lock").read_text())
    assert list(lock["stages"]) == ["first"]
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] != []


def _commands(leader: int) -> str:
    return " ".join(" ".join(process.cmdline()) for process in sessions({leader}))


def test_journals_come_back_with_their_records(tmp_path: Path) -> None:
    """Without which `espalier sync` here could not send what the head could not."""
    (tmp_path / "storage").mkdir()
    submission = Submission(job="job-1", targets=[], jobs=2, storage=str(tmp_path / "storage"), git_commit="0", git_dirty=False)
    journals = tmp_path / "head" / ".espalier" / "journals"
    journals.mkdir(parents=True)
    for name in ("train-1.jsonl", "train-1.run.json", "train-1.lock"):
        (journals / name).write_text(name)
    leave_results(submission, tmp_path / "head")
    assert fetch_results("job-1", submission.storage, tmp_path / "client")
    found = {path.name: path.read_text() for path in (tmp_path / "client" / ".espalier" / "journals").iterdir()}
    assert found == {"train-1.jsonl": "train-1.jsonl", "train-1.run.json": "train-1.run.json"}
