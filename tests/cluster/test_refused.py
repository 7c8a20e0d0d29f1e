"""What `espalier submit` cannot work with is said in one message before the cluster is sent anything; stop
and go on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hosts.hosts import Host
from tests.support.hosts.services import BUCKET
from tests.support.hosts.topology import TOOLS, Topology
from tests.support.hosts.work import STORAGE, Work
from tests.support.project import Done, training_workers, until

WORKERS = 3
SILENCE_S = 60.0
UNDER_WAY_S = 240.0
ENDS_S = 600.0
STOPPED_S = 30.0
PORT = 8265
OTHER_RAY = f"""
from aiohttp import web
async def version(request):
    return web.json_response({{"ray_version": "2.9.3", "version": "4", "ray_commit": ""}})
application = web.Application()
application.router.add_get("/api/version", version)
web.run_app(application, host="0.0.0.0", port={PORT}, print=None)
"""
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture(scope="module")
def work(installation: Topology, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder, jobs_url = tmp_path_factory.mktemp("refused") / "project", installation.ray.head.jobs_url
    return Work(installation.client, folder, jobs_url, workers=WORKERS, storage=STORAGE)


@contextmanager
def another_host(installation: Topology, name: str) -> Iterator[Host]:
    host = installation.network.add_host(name)
    try:
        yield host
    finally:
        host.kill()


def refused(
    installation: Topology,
    work: Work,
    *words: str,
    address: str | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """What a command says that must fail: one line, and the cluster has the jobs that it had."""
    before = installation.jobs()
    done: Done = work.espalier(
        *words, "--address", address or work.jobs_url, check=False, **(environment or {})
    )
    assert done.status == 1, done
    assert done.out == ""
    assert done.err.startswith(f"espalier {words[0]}: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert installation.jobs() == before
    return done.err


@contextmanager
def changed(work: Work, name: str, old: str, new: str) -> Iterator[None]:
    """A file of the project with another text, for the time of the block."""
    path = work.path(name)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"RAY_AUTH_MODE": "disabled"},
            "refuses the token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with",
        ),
        (
            {"RAY_AUTH_TOKEN_PATH": "/run/none"},
            "refuses the token; compare /run/none with the token of the cluster's head",
        ),
        (
            {"RAY_AUTH_TOKEN_PATH": "/run/another"},
            "refuses the token; compare /run/another with the token of the",
        ),
    ],
)
def test_without_the_clusters_token(
    installation: Topology, work: Work, environment: dict[str, str], said: str
) -> None:
    installation.client.path("/run/another").write_text("0" * len(installation.ray.token))
    assert said in refused(installation, work, "submit", "prepare", environment=environment)


def test_an_address_where_nothing_or_something_else_answers(installation: Topology, work: Work) -> None:
    said = refused(installation, work, "submit", "prepare", address=f"http://{installation.head.ip}:1")
    assert f"no answer from a Ray job server at http://{installation.head.ip}:1 (" in said
    said = refused(installation, work, "submit", "prepare", address=installation.mlflow.url)
    assert f"{installation.mlflow.url} refuses the token" in said
    said = refused(
        installation, work, "submit", "prepare", address=f"http://me:secret@{installation.head.ip}:1"
    )
    assert "secret" not in said
    assert "its address is the head's dashboard, http://host:8265" in refused(
        installation, work, "submit", "prepare", address="nonsense://x"
    )


def test_a_host_that_is_silent(installation: Topology, work: Work) -> None:
    with another_host(installation, "silent") as silent:
        silent.link_down()
        start = time.monotonic()
        assert "no answer from a Ray job server" in refused(
            installation, work, "submit", "prepare", address=f"http://{silent.ip}:{PORT}"
        )
        assert time.monotonic() - start < SILENCE_S


def test_another_version_of_ray(installation: Topology, work: Work) -> None:
    with another_host(installation, "older") as older:
        older.start(["python", "-c", OTHER_RAY])
        until(lambda: answers(older), "the server answers", SILENCE_S)
        said = refused(installation, work, "submit", "prepare", address=f"http://{older.ip}:{PORT}")
        assert "has Ray 2.9.3, and here is " in said
        assert said.endswith("install the same on both\n")


def answers(host: Host) -> bool:
    try:
        return host.get(f"http://{host.ip}:{PORT}/api/version")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://nowhere/runs", "cannot write s3://nowhere/runs/probe-"),
        ("/mnt/nowhere", "resources.storage: /mnt/nowhere is no folder on this machine; mount it here"),
        ("/usr/share", "cannot write /usr/share/probe-"),
        ("gopher://host/x", "gopher://host/x is no storage known here"),
        ("s3://me:hunter2@host/x", "resources.storage holds a user name or password in an address"),
        ("null", "resources.storage is null"),
    ],
)
def test_a_storage_that_is_not_there_or_may_not_be_written(
    installation: Topology, work: Work, storage: str, said: str
) -> None:
    with changed(work, "params.yaml", f"storage: {STORAGE}", f"storage: {storage}"):
        message = refused(installation, work, "submit", "--dirty", "prepare")
    assert said in message
    assert "hunter2" not in message


def test_a_remote_without_credentials_or_bucket(installation: Topology, work: Work) -> None:
    said = refused(installation, work, "submit", "prepare", environment=NO_CREDENTIALS)
    assert f"the DVC remote 'store' (s3://{BUCKET}/dvc) takes no file: " in said
    assert "credentials" in said
    with changed(work, ".dvc/config", f"s3://{BUCKET}/dvc", "s3://nowhere/dvc"):
        said = refused(installation, work, "submit", "--dirty", "prepare")
    assert "the DVC remote 'store' (s3://nowhere/dvc) takes no file: " in said
    assert "bucket does not exist" in said


def test_a_remote_that_only_this_machine_knows(installation: Topology, work: Work) -> None:
    config = work.path(".dvc/config").read_text()
    work.path(".dvc/config.local").write_text(config)
    with changed(work, ".dvc/config", config, ""):
        assert "no DVC remote in .dvc/config; run `dvc remote add" in refused(
            installation, work, "submit", "--dirty", "prepare"
        )
    work.path(".dvc/config.local").unlink()


def test_changes_and_stages_are_checked_first(installation: Topology, work: Work) -> None:
    assert "dvc.yaml has no stage 'trian'; did you mean 'train'?" in refused(
        installation, work, "submit", "trian"
    )
    work.path("new.py").write_text("")
    done = work.espalier("submit", "prepare", "--address", work.jobs_url, check=False)
    assert (done.status, done.err) == (
        1,
        "espalier submit: these changes are not committed:\n  ?? new.py\ncommit them, or add --dirty to send "
        "them along\n",
    )
    work.path("new.py").unlink()


def test_a_job_that_the_cluster_does_not_know(installation: Topology, work: Work) -> None:
    for verb in ("attach", "logs", "stop"):
        assert "knows no job 'espalier-0'" in refused(installation, work, verb, "espalier-0")


def test_a_node_without_what_the_project_needs_says_so(installation: Topology, work: Work) -> None:
    with changed(work, "pyproject.toml", '"dvc>=', '"absent-package>=1",\n    "dvc>='):
        done = work.espalier("submit", "--dirty", "prepare", "--address", work.jobs_url, check=False)
    assert done.status == 1
    assert "lacks absent-package; install requirements.txt there and on every node" in done.out
    assert "Traceback" not in done.out + done.err
    assert (
        "ended as FAILED: Job entrypoint command failed with exit code 78. What was complete is kept"
        in done.err
    )


TRAINED = {"train": {"epochs": 60, "seed": 1}}
"""Of no other test, some of which leave a run in the storage."""


@pytest.fixture(scope="module")
def undisturbed(installation: Topology, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The model of the same training on one host."""
    with another_host(installation, "alone") as alone:
        alone.environment.update(TOOLS)
        work = Work(alone, tmp_path_factory.mktemp("alone") / "project", "", workers=WORKERS, changes=TRAINED)
        work.run("dvc", "repro", "train")
        return work.dense()


def test_a_stopped_job_ends_on_all_hosts_and_goes_on_when_submitted_again(
    installation: Topology, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    nodes = [installation.head, *installation.workers]
    work = Work(
        *(installation.client, tmp_path / "project", installation.ray.head.jobs_url),
        workers=WORKERS,
        storage=STORAGE,
        checkpoint_s=1.0,
        changes=TRAINED,
    )
    client = work.submit("train")
    until(
        lambda: "train  epoch" in client.log.read_text() or client.poll() is not None,
        "the training is under way",
        UNDER_WAY_S,
    )
    assert client.poll() is None, client.tail()
    until(lambda: training_steps(client.log.read_text()) >= 3, "some epochs are over", UNDER_WAY_S)
    job = work.path(".espalier/last-job").read_text()
    assert f"did you mean '{job}'?" in refused(installation, work, "stop", f"{job[:-1]}7")
    said = work.espalier("stop", "--address", work.jobs_url).out
    assert said.startswith(f"{job} was told to stop; what was complete is kept")
    until(
        lambda: not any(training_workers(host.processes()) for host in nodes), "no worker trains", STOPPED_S
    )
    assert client.wait(ENDS_S) == 1
    assert f"{job} ended as STOPPED: " in client.tail()
    supervisor = next(installation.head.path("/tmp/ray").glob(f"session_2*/logs/jobs/supervisor-{job}.log"))
    assert "terminated gracefully" in supervisor.read_text(), "Ray cut off what saves the outputs"
    assert "Traceback" not in client.log.read_text()
    assert list(yaml.safe_load(work.path("dvc.lock").read_text())["stages"]) == ["prepare"]
    assert work.path("data/prepared/manifest.json").exists()
    assert work.espalier("stop", "--address", work.jobs_url).out == f"{job} is over already\n"
    again = work.submit("train")
    assert again.wait(ENDS_S) == 0, again.tail()
    assert "prepare | didn't change, skipping" in again.log.read_text()
    assert work.dense() == undisturbed


def training_steps(text: str) -> int:
    """The epoch that the live line shows."""
    return int(text.rpartition("train  epoch ")[2].partition("/")[0])
