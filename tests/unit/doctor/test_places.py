"""What `espalier doctor` says of storages and remotes."""

import datetime
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import moto.s3.models
import pytest
from moto.server import ThreadedMotoServer

from pipeline.doctor.places import remote, storage
from pipeline.errors import SubmitError
from tests.support.doctor_samples import says
from tests.support.places import ROOT
from tests.support.servers import silent
from tests.support.submit_samples import project


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
