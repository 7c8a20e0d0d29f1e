"""What `espalier doctor` says of clusters, job servers and their tokens."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import ray

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.ray_services import job_server, ray_cluster, ray_token
from pipeline.errors import SubmitError, UnreachableError
from tests.support.doctor_samples import says
from tests.support.servers import answering, silent


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
