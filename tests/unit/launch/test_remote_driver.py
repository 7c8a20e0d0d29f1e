"""Training through a cluster's job server, against one that runs nothing: what it is sent, and how each end
of it is met.
"""

import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.errors import EXIT_NODE_INCOMPLETE, StorageError, SubmitError, TrainingError, UnreachableError
from pipeline.job_server import JobState
from pipeline.launch import remote_driver
from pipeline.launch.driver import launch
from pipeline.launch.ray_cluster import LaunchRequest
from pipeline.storage import Storage
from pipeline.train.job import Job
from pipeline.train.transport.driver import await_silence, send, signs_of_life
from tests.support.fit_samples import job, prepared_digits
from tests.support.launch_samples import resources

RUNNING, DONE = JobState("RUNNING", ""), JobState("SUCCEEDED", "", 0)


@dataclass
class Cluster:
    """A job server whose jobs end as `ends` says."""

    ends: JobState | BaseException = DONE
    address: str = "http://nowhere:8265"
    states: dict[str, JobState] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    sent: dict[str, str] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    entrypoint: str = ""
    keep: Path | None = None

    def submit(self, tree: Path, job: str, entrypoint: str, metadata: dict[str, str]) -> None:
        self.states[job], self.entrypoint = RUNNING, entrypoint
        self.sent[job] = (tree / remote_driver.REQUEST_NAME).read_text()
        # As the head does: the tree alone must be enough.
        words = [
            sys.executable,
            "-P",
            "-c",
            "import pipeline.launch.driver, sys; print(pipeline.launch.driver.__file__)",
        ]
        done = subprocess.run(
            words, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True
        )
        if self.keep:
            shutil.copytree(tree, self.keep)
        self.code.append(done.stdout.strip().removeprefix(str(tree)))

    def jobs(self) -> dict[str, JobState]:
        return dict(self.states)

    def stop(self, job: str) -> None:
        self.stopped.append(job)
        self.states[job] = JobState("STOPPED", "")

    def logs(self, job: str) -> str:
        raise NotImplementedError

    def follow(self, job: str) -> JobState:
        if isinstance(self.ends, BaseException):
            raise self.ends
        self.states[job] = self.ends
        return self.ends


@pytest.fixture
def sent(tmp_path: Path) -> Job:
    (tmp_path / "run").mkdir()
    (tmp_path / "bucket").mkdir()
    return send(job(prepared_digits(tmp_path), tmp_path / "run"), str(tmp_path / "bucket"))


def request(of: Job) -> LaunchRequest:
    return LaunchRequest(job=of, resources=resources(storage=of.site.storage, address="http://nowhere:8265"))


def test_code_and_request_travel(sent: Job) -> None:
    cluster = Cluster()
    assert remote_driver.attempt_remotely(request(sent), cluster) == 0
    assert cluster.code == ["/pipeline/launch/driver.py"]
    assert [LaunchRequest.model_validate_json(text) for text in cluster.sent.values()] == [request(sent)]
    assert cluster.entrypoint == "python -m pipeline.jobs.start launch.json"
    assert cluster.stopped == []


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (JobState("FAILED", "why", -9), -9),
        (JobState("FAILED", "no room for the runtime environment"), 1),
        (SubmitError("no longer knows the job; was its head started anew?"), 1),
    ],
)
def test_each_death_is_a_status(
    sent: Job, end: JobState | BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert remote_driver.attempt_remotely(request(sent), Cluster(end)) == status
    said = capsys.readouterr().err
    assert ("no room" in said or "started anew" in said) == (status == 1)


def test_a_head_that_lacks_what_a_training_needs_is_not_tried_again(sent: Job, tmp_path: Path) -> None:
    cluster = Cluster(JobState("FAILED", "why", EXIT_NODE_INCOMPLETE), keep=tmp_path / "tree")
    with pytest.raises(TrainingError, match=r"the head at http://nowhere:8265 cannot train, see above"):
        remote_driver.attempt_remotely(request(sent), cluster)
    words = [sys.executable, "-S", *cluster.entrypoint.split()[1:]]
    done = subprocess.run(words, cwd=tmp_path / "tree", env={}, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_NODE_INCOMPLETE
    assert re.fullmatch(
        r"espalier job: the head's Python \(\S+\) lacks dvc, .*, torchvision; install requirements.*\n",
        done.stderr,
    )


def test_a_cluster_that_is_gone_is_said_with_what_to_do(sent: Job) -> None:
    cluster = Cluster(UnreachableError("no answer; given up after 10 minutes"))
    with pytest.raises(
        UnreachableError, match=r"given up after 10 minutes\. A training there .*; run it again to go on from"
    ):
        remote_driver.attempt_remotely(request(sent), cluster)


def test_an_interrupted_stage_stops_its_job(sent: Job) -> None:
    cluster = Cluster(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        remote_driver.attempt_remotely(request(sent), cluster)
    assert cluster.stopped == list(cluster.states)


def test_what_a_killed_stage_left_is_ended_first_and_what_another_machine_left_ends_by_itself(
    sent: Job,
) -> None:
    cluster = Cluster(DONE)
    remote_driver.attempt_remotely(request(sent), cluster)
    left = next(iter(cluster.states))
    cluster.states[left] = RUNNING
    remote_driver.attempt_remotely(request(sent), cluster)
    assert cluster.stopped == [left]
    cluster.states["run-0123abcd-4567"] = RUNNING
    assert remote_driver.attempt_remotely(request(sent), cluster) == 0
    assert cluster.stopped == [left]


def test_without_a_storage_nothing_joins_the_two(sent: Job) -> None:
    with pytest.raises(
        TrainingError, match=r"named by its job server, .* set resources.storage to s3://bucket/prefix"
    ):
        launch(sent, resources(address="http://nowhere:8265"), "train")


def test_silence_is_told_from_life_and_from_a_storage_that_fails(
    sent: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Thread(target=await_silence, args=(sent, 0.3, 0.02), daemon=True)
    with signs_of_life(sent, 0.02):
        waiting.start()
        waiting.join(1.0)
        assert waiting.is_alive()
    failing = threading.Event()
    read = Storage.read

    def unreadable(self: Storage, name: str) -> bytes | None:
        if not failing.is_set():
            raise StorageError("503")
        return read(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read", unreadable)
        waiting.join(1.0)
        assert waiting.is_alive()
        failing.set()
        waiting.join(10.0)
    assert not waiting.is_alive()
