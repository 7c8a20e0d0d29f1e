"""Secrets stay where they were put, and a training on one machine is heard by nobody else."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.hosts.hosts import Host
from tests.support.hosts.services import ACCOUNTS_DATABASE, RUNS_DATABASE
from tests.support.hosts.topology import TOOLS, Topology
from tests.support.hosts.work import STORAGE, Work
from tests.support.project import until

WORKERS = 3
UNDER_WAY_S = 240.0
ENDS_S = 600.0
POLL_S = 0.1
CANARIES = {
    "the client's key of S3": "canary-of-aws-3b1f9c52d7",
    "the client's password of MLflow": "canary-of-mlflow-77aa0b4e19",
    "a variable of the client": "canary-of-a-variable-5d20c6",
    "an ignored file": "canary-of-dotenv-e0f7b2a81c",
    "DVC's private configuration": "canary-of-dvc-4419d3c6fb",
    "the address of the git remote": "canary-of-git-90be55a7d1",
}
CLIENT = {
    "AWS_SECRET_ACCESS_KEY": CANARIES["the client's key of S3"],
    "MLFLOW_TRACKING_PASSWORD": CANARIES["the client's password of MLflow"],
    "SOME_API_TOKEN": CANARIES["a variable of the client"],
}
SEARCH_S3 = """
import json, sys, boto3
client, secrets, found, seen = boto3.client("s3"), json.loads(sys.argv[1]), [], []
for bucket in client.list_buckets()["Buckets"]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
        for entry in page.get("Contents", []):
            try:
                body = client.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
            except client.exceptions.NoSuchKey:
                continue
            seen.append(entry["Key"])
            text = body + entry["Key"].encode()
            found += [(entry["Key"], name) for name, secret in secrets.items() if secret.encode() in text]
print(json.dumps([found, seen]))
"""


@dataclass
class Searched:
    """What was looked through while and after a job ran, and which secrets were in it."""

    found: list[tuple[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def text(self, place: str, text: str) -> None:
        self.seen.append(place)
        self.found += [(place, name) for name, secret in self.secrets.items() if secret in text]

    def folder(self, place: str, folder: Path) -> None:
        """Its files, those of folders that links lead to left out."""
        for path in sorted(folder.rglob("*")):
            with suppress(OSError):  # a socket, or a file that is gone by now
                if path.is_file() and not path.is_symlink():
                    self.text(
                        f"{place}:{path.relative_to(folder)}", path.read_bytes().decode(errors="replace")
                    )

    def commands(self, host: Host) -> None:
        for process in host.processes():
            with suppress(psutil.NoSuchProcess):
                self.text(f"a command on {host.name}", " ".join(process.cmdline()))

    def store(self, installation: Topology) -> None:
        command = ["python", "-c", SEARCH_S3, json.dumps(self.secrets)]
        found, seen = json.loads(installation.services.run(command, installation.store.environment).out)
        self.found += [("S3: " + place, name) for place, name in found]
        self.seen += ["S3: " + place for place in seen]


@pytest.fixture(scope="module")
def searched(installation: Topology, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """After a submission of `train` by a client whose environment and folders hold the canaries."""
    client, nodes = installation.client, [installation.head, *installation.workers]
    work = Work(
        *(client, tmp_path_factory.mktemp("secrets") / "project", installation.ray.head.jobs_url),
        workers=WORKERS,
        storage=STORAGE,
        checkpoint_s=1.0,
        changes={"train": {"epochs": 40}},
    )
    work.path(".env").write_text(f"PASSWORD={CANARIES['an ignored file']}\n")
    private = CANARIES["DVC's private configuration"]
    work.path(".dvc/config.local").write_text(
        f"['remote \"store\"']\n    access_key_id = me\n    secret_access_key = {private}\n"
    )
    address = f"https://me:{CANARIES['the address of the git remote']}@example.org/project.git"
    work.run("git", "remote", "add", "origin", address)
    searched = Searched(secrets=secrets_of(installation))
    process = work.submit("train", environment=CLIENT)
    until(
        lambda: process.poll() is not None or checkpoints(installation),
        "a checkpoint is in the store",
        UNDER_WAY_S,
    )
    assert process.poll() is None, process.tail()
    for host in nodes:
        searched.commands(host)
    searched.store(installation)
    assert process.wait(ENDS_S) == 0, process.tail()
    searched.store(installation)
    searched.text("what the client printed", process.log.read_text())
    searched.text("the jobs API", json.dumps(installation.jobs()))
    for database in (RUNS_DATABASE, ACCOUNTS_DATABASE):
        searched.text(f"database {database}", installation.database.dump(database))
    for host in nodes:
        searched.folder(f"{host.name}: /tmp/ray", host.path("/tmp/ray"))
    for name in ("dvc.lock", "params.yaml"):
        searched.text(f"client: {name}", work.path(name).read_text())
    for name in (".espalier", "artifacts", "reports"):
        searched.folder(f"client: {name}", work.path(name))
    return searched


def secrets_of(installation: Topology) -> dict[str, str]:
    """The canaries, and what the cluster itself must keep."""
    own = {
        "the cluster's key of S3": installation.store.environment["AWS_SECRET_ACCESS_KEY"],
        "the cluster's password of MLflow": installation.mlflow.environment["MLFLOW_TRACKING_PASSWORD"],
        "Ray's token": installation.ray.token,
    }
    return CANARIES | own


def checkpoints(installation: Topology) -> bool:
    _, listing = installation.client.get(f"{installation.store.url}/espalier?prefix=work/runs/")
    return b"/checkpoints/" in listing


def test_no_secret_is_found_anywhere(searched: Searched) -> None:
    assert searched.found == []


@pytest.mark.parametrize(
    "place",
    [
        "database runs",
        "the jobs API",
        "client: dvc.lock",
        "client: .espalier:journals/train-",
        "S3: work/runs/train-",
        "S3: work/jobs/",
        "S3: dvc/files/md5/",
        "head: /tmp/ray:",
        "worker-1: /tmp/ray:",
        "worker-2: /tmp/ray:",
        "a command on worker-1",
    ],
)
def test_all_of_it_was_looked_through(searched: Searched, place: str) -> None:
    assert any(seen.startswith(place) for seen in searched.seen), sorted(
        {seen.partition("/")[0] for seen in searched.seen}
    )


def test_the_tree_and_the_jobs_log_were_among_it(searched: Searched) -> None:
    assert any(seen.endswith("/pipeline/jobs/head.py") for seen in searched.seen)
    assert any("job-driver-espalier-" in seen for seen in searched.seen)
    assert not any(seen.endswith("/.env") for seen in searched.seen)


@contextmanager
def listened(host: Host) -> Iterator[set[str]]:
    """Addresses at which something on the host listens, at any moment of the block: its own kernel tells."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.update(listeners(host))
            stop.wait(POLL_S)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def listeners(host: Host) -> set[str]:
    """Local addresses of sockets in the state LISTEN, and of UDP sockets that anyone may send to."""
    found: set[str] = set()
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        rows = [
            line.split() for line in Path(f"/proc/{host.space.pid}/net/{table}").read_text().splitlines()[1:]
        ]
        found |= {
            f"{table} {row[1]}"
            for row in rows
            if row[3] == state and not is_loopback(row[1].partition(":")[0])
        }
    return found


def is_loopback(address: str) -> bool:
    """Of an address as the kernel writes it: words of 32 bits in this machine's order."""
    return address in {"0100007F", "0" * 24 + "01000000"} or address == "0" * 16 + "FFFF00000100007F"


def test_a_training_on_one_machine_listens_to_itself_alone(installation: Topology, tmp_path: Path) -> None:
    alone = installation.network.add_host("alone")
    try:
        alone.environment.update(TOOLS)
        work = Work(alone, tmp_path / "project", "", workers=2)
        with listened(alone) as seen:
            work.run("dvc", "repro", "train")
        assert seen == set()
    finally:
        alone.kill()


def test_a_listener_would_be_seen(installation: Topology) -> None:
    listen = "import socket, time; opened = socket.create_server(('', 0)); time.sleep(60)"
    listening = installation.client.start(["python", "-c", listen])
    until(lambda: listeners(installation.client), "the listener is seen", 10)
    listening.kill()
    assert listeners(installation.client) == set()
