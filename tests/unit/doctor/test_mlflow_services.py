"""What `espalier doctor` says of servers and storages that are absent, silent, wrong or careless."""

import datetime
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import moto.s3.models
import pytest
import ray
from moto.server import ThreadedMotoServer

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.mlflow_services import journals, mlflow
from pipeline.doctor.places import remote, storage
from pipeline.doctor.ports import Port, port
from pipeline.doctor.ray_services import job_server, ray_cluster, ray_token
from pipeline.errors import SubmitError, UnreachableError
from pipeline.tracking.records import RunRecord, journal_lock, write_record
from tests.support.doctor_samples import holding, says
from tests.support.places import ROOT
from tests.support.servers import answering, silent
from tests.support.submit_samples import project

OURS = ("RAY_", "MLFLOW_", "AWS_")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell decides, and none that is set here remains."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"):
        monkeypatch.setenv(name, "")


def test_a_port_that_another_program_uses_is_a_problem() -> None:
    with silent() as number:
        says(
            port(Port(number, "a page", "nobody", "take another")),
            f"{number}, for a page, is used by",
            f"(pid {os.getpid()})",
        )
        assert port(Port(number, "a page", r"python\w*", "")).state == "ok"
    assert port(Port(number, "a page", "nobody", "")) == CheckResult("ok", f"{number} is free for a page")


def test_a_cluster_is_who_speaks_grpc() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    number = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert ray_cluster(f"127.0.0.1:{number}") == CheckResult("ok", f"answers at 127.0.0.1:{number}")
    finally:
        server.stop(None).wait()
    says(ray_cluster(f"127.0.0.1:{number}"), "no Ray cluster answers", "refused", "unset RAY_ADDRESS")


def test_what_is_no_cluster_is_a_problem() -> None:
    assert ray_cluster(None).state == "skipped"
    assert ray_cluster("auto").state == "skipped"
    with silent() as number:
        says(ray_cluster(f"127.0.0.1:{number}", timeout_s=0.2), "nothing is heard within 0.2 s")
    with answering(200) as url:
        says(ray_cluster(url.removeprefix("http://"), timeout_s=1), "something else listens there")
    for address in ("ray://127.0.0.1:10001", "127.0.0.1", "host:port"):
        says(ray_cluster(address), f"{address} is no host:port")
    says(ray_cluster("127.0.0.1:99999"), "no Ray cluster answers")


def test_a_job_server_with_this_ray_is_fine() -> None:
    assert job_server(None).state == "skipped"
    body = f'{{"version": "4", "ray_version": "{ray.__version__}", "ray_commit": ""}}'
    with answering(200, body.encode()) as url:
        assert job_server(url).state == "ok"


def test_a_job_server_with_another_ray_is_refused() -> None:
    other = pytest.raises(SubmitError, match=r"has Ray 2\.1\.0, and here is .*; install the same on both")
    with answering(200, b'{"version": "4", "ray_version": "2.1.0", "ray_commit": ""}') as url, other:
        job_server(url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_job_server_that_wants_another_token_is_told(status: int) -> None:
    refused = pytest.raises(SubmitError, match="refuses the token; set RAY_AUTH_MODE=token")
    with answering(status, b"no", "text/plain") as url, refused:
        job_server(url)


def test_a_job_server_that_says_nothing_is_given_up() -> None:
    begun = time.monotonic()
    with silent() as number, pytest.raises(UnreachableError, match="no answer from a Ray job server"):
        job_server(f"http://127.0.0.1:{number}", timeout_s=0.3)
    assert time.monotonic() - begun < 10


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text("hunter2hunter2")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


def test_a_token_of_ones_own_is_fine(token: Path) -> None:
    assert ray_token(uses_cluster=True) == CheckResult("ok", f"{token}, which only you may read")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_may_read_is_a_problem(token: Path, mode: int) -> None:
    token.chmod(mode)
    says(ray_token(uses_cluster=False), f"{token} has mode {mode:04o}", f"`chmod 600 {token}`")


def test_a_token_that_is_missing_or_empty_is_a_problem(token: Path) -> None:
    token.write_text("\n")
    says(ray_token(uses_cluster=True), "is empty")
    token.unlink()
    says(ray_token(uses_cluster=True), f"{token} cannot be read (No such file or directory)")


def test_a_cluster_without_a_token_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_token(uses_cluster=False).state == "skipped"
    says(ray_token(uses_cluster=True), "RAY_AUTH_MODE is not token")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    says(ray_token(uses_cluster=True), "whoever reaches the cluster can run code there")
    says(ray_token(uses_cluster=False), "other users of this machine can run code as you")
    monkeypatch.setenv("RAY_AUTH_MODE", "tokn")
    says(ray_token(uses_cluster=False), "RAY_AUTH_MODE is 'tokn'")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2hunter2")
    assert ray_token(uses_cluster=True) == CheckResult("ok", "is in RAY_AUTH_TOKEN")


def test_mlflow_that_answers_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow(tmp_path).state == "skipped"
    with answering(200, b'{"experiment": {"experiment_id": "1", "name": "espalier"}}') as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert mlflow(tmp_path) == CheckResult("ok", f"{url} answers, also to what runs ask of it")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "for an account"), (403, "for the host name"), (503, "start it")]
)
def test_mlflow_that_refuses_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    with answering(status) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        says(mlflow(tmp_path), f"{url} answers /health with status {status}", words)


def test_mlflow_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as number:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{number}")
        says(mlflow(tmp_path, timeout_s=0.2), "says nothing within 0.2 s; start it")
    says(mlflow(tmp_path), "does not answer", "refused")


def test_credentials_in_the_address_of_mlflow_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow.example.org")
    verdict = mlflow(tmp_path)
    says(verdict, "MLFLOW_TRACKING_USERNAME")
    assert "hunter2" not in verdict.text


def record(root: Path, name: str, *, delivered: bool) -> Path:
    """A journal with its record."""
    journal = root / ".espalier" / "journals" / f"{name}-1.jsonl"
    values: dict[str, Any] = {
        "pipeline_key": None,
        "params": {},
        "pipeline_params": {},
        "upstream": {},
        "ended": None,
    }
    journal.parent.mkdir(parents=True, exist_ok=True)
    write_record(
        journal, RunRecord(stage=name, key="1", started=0.0, status="RUNNING", delivered=delivered, **values)
    )
    return journal


def test_journals_that_wait_are_counted(tmp_path: Path) -> None:
    record(tmp_path, "prepare", delivered=True)
    assert journals(tmp_path) == CheckResult("ok", "MLflow has all")
    waiting = record(tmp_path, "train", delivered=False)
    says(journals(tmp_path), "1 not delivered (train-1); `espalier sync` sends them")
    with holding(journal_lock(waiting)):
        assert journals(tmp_path).state == "ok"


def test_a_storage_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    assert storage(None).state == "skipped"
    assert storage(str(tmp_path)).state == "ok"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_storage_that_is_missing_or_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    says(storage(str(tmp_path / "none")), f"{tmp_path}/none is no folder here; mount it")
    assert not (tmp_path / "none").exists()
    says(storage("/sys/kernel"), "cannot write /sys/kernel/doctor-", "may be written")
    says(storage("nothing://x"), "no storage known here")


S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "espalier",
    "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ASK = """
import sys
from pipeline.doctor.places import remote, storage
verdict = storage(sys.argv[1], float(sys.argv[2]))
print(verdict.state, verdict.text)
"""


def asked(url: str, endpoint: str, limit_s: float) -> str:
    """What the check says, in a process of its own, because S3 clients outlive their test."""
    environment = {
        **os.environ,
        **S3_ENVIRONMENT,
        "AWS_ENDPOINT_URL": endpoint,
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-c", ASK, url, str(limit_s)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, number = server.get_host_and_port()
    connection = socket.create_connection((host, number))
    connection.sendall(
        b"PUT /bucket HTTP/1.1\r\nHost: s3.amazonaws.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert b" 200 " in connection.recv(100)
    connection.close()
    yield f"http://{host}:{number}"
    server.stop()


def test_a_remote_must_be_committed_and_take_files(tmp_path: Path) -> None:
    root = project(tmp_path / "project", tmp_path / "storage", tmp_path / "remote")
    assert remote(root).state == "ok"
    assert list((tmp_path / "remote").iterdir()) == []
    (tmp_path / "remote").rmdir()
    (tmp_path / "remote").touch()
    says(remote(root), "the DVC remote 'store'", str(tmp_path / "remote"))
    (root / ".dvc" / "config").write_text("[core]\n")
    with pytest.raises(SubmitError, match=r"no DVC remote in \.dvc/config"):
        remote(root)


def test_a_bucket_is_tried_with_its_clock(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked("s3://bucket/runs", s3, 30).startswith(
        "ok s3://bucket/runs is written, read, listed and removed; clocks agree"
    )
    assert "cannot write s3://none/runs/doctor-" in asked("s3://none/runs", s3, 30)
    for minutes, words in ((6, "behind"), (-6, "ahead of")):
        there = datetime.timedelta(minutes=minutes)
        with monkeypatch.context() as patch:
            patch.setattr(moto.s3.models, "utcnow", lambda there=there: now() + there)
            said = asked("s3://bucket/runs", s3, 30)
        assert re.match(
            rf"problem this clock is 3\d\d s {words} that of s3://bucket/runs, which will refuse signatures",
            said,
        )


def now() -> datetime.datetime:
    """As moto's own, without a time zone."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def test_a_bucket_that_says_nothing_is_given_up() -> None:
    begun = time.monotonic()
    with silent() as number:
        said = asked("s3://bucket/runs", f"http://127.0.0.1:{number}", 1)
    assert said.startswith("problem s3://bucket/runs did not answer within 1 s; check resources.storage")
    assert time.monotonic() - begun < 30
