"""The commands and environments of infra/compose.yaml, each on a host of its own by its service's name, and a
job sent there.

Hosts are namespaces (tests/support/hosts/network.py) with addresses and disks of their own, so no port,
flag or address of a command is changed. What differs from containers: MOVED and NAMES, PostgreSQL without
the first script of its image, moto's server for MinIO, and one network for both of compose's (who is in
which is read by test_compose.py).
"""

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.compose import VALUES, command, environment, services
from tests.infra.manifests import INFRA
from tests.support.hosts.hosts import Host
from tests.support.hosts.network import Network, remains
from tests.support.hosts.ray_nodes import MEMORY_OF_OTHERS
from tests.support.hosts.service import Service, write_secret
from tests.support.hosts.services import Moto, Postgres, postgres_tools
from tests.support.hosts.topology import TOOLS, unsupported
from tests.support.hosts.work import STORAGE, Work

MOVED = {"/etc/mlflow/auth.ini": "/run/mlflow/auth.ini"}
"""A host's /etc is this machine's, which nobody may write to."""
NAMES = {"GRPC_DNS_RESOLVER": "native"}
"""Names are in /etc/hosts, which gRPC's own resolver does not read; compose runs a name server."""
TOKEN = "/run/secrets/ray_token"
NODES = {"ray-head": "ray-head", "ray-worker-1": "ray-worker", "ray-worker-2": "ray-worker"}
"""Hosts, and whose commands they run: compose starts two workers."""
JOB_S = 600.0
NOT_ROOT = [
    "setpriv",
    f"--reuid={VALUES['ESPALIER_UID']}",
    f"--regid={VALUES['ESPALIER_GID']}",
    "--clear-groups",
]


class Composed(Service):
    """A service as compose runs it: it is ready when its own health check says so."""

    def __init__(self, host: Host, name: str) -> None:
        variables = {key: MOVED.get(value, value) for key, value in environment(name).items()}
        super().__init__(host, [*NOT_ROOT, *command(name)], variables)
        self._check = services()[name]["healthcheck"]["test"]

    def answers(self) -> bool:
        kind, *words = self._check
        assert kind == "CMD"
        return self.host.run(words, self._environment, check=False).status == 0


class Composition:
    """All of them, running, and a user's machine."""

    def __init__(self, network: Network) -> None:
        self.hosts = {name: network.add_host(name) for name in ("postgres", "s3", "mlflow", *NODES, "client")}
        self.token = secrets.token_hex(32)
        self.database = Postgres(
            self.hosts["postgres"], "mlflow", environment("postgres")["POSTGRES_PASSWORD"]
        )
        self.store = Moto(self.hosts["s3"], f"http://{self.hosts['s3'].ip}:9000")
        self.mlflow = Composed(self.hosts["mlflow"], "mlflow")
        self.nodes = [Composed(self.hosts[host], name) for host, name in NODES.items()]

    def start(self) -> None:
        for name in (*NODES, "client"):
            self._give(name, TOKEN, self.token)
            self.hosts[name].environment.update({**TOOLS, **MEMORY_OF_OTHERS, **NAMES})
        self._give("mlflow", MOVED["/etc/mlflow/auth.ini"], (INFRA / "mlflow_auth.ini").read_text())
        for server in (self.database, self.store):
            server.start()
            server.wait_ready()
        self.database.make_database(environment("postgres")["POSTGRES_DB"])
        for _ in range(2):  # `compose up` may come again, and the buckets are there
            self.hosts["s3"].run(command("buckets"), environment("buckets"))
        self.mlflow.start()
        for node in self.nodes:  # a worker is started when the head is healthy
            node.start()
            node.wait_ready()
        self.mlflow.wait_ready()

    def ask_mlflow(self, path: str, account: str | None, host: str = "mlflow:5000") -> int:
        """The status of a request from one of Ray's nodes, under this name of the server."""
        login = {"Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"} if account else {}
        return self.hosts["ray-head"].get(
            f"http://{self.hosts['mlflow'].ip}:5000{path}", login | {"Host": host}
        )[0]

    def _give(self, name: str, inside: str, text: str) -> None:
        """A file that the service's user may read, and nobody may write."""
        path = self.hosts[name].path(inside)
        path.parent.mkdir(exist_ok=True)
        write_secret(path, text)
        path.chmod(0o444)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    if reason := unsupported():
        pytest.skip(reason)
    with Network(tmp_path_factory.mktemp("compose")) as network:
        composition = Composition(network)
        composition.hosts["postgres"].environment["PATH"] += f":{postgres_tools()}"
        composition.start()
        yield composition
    assert remains(network.marker) == []


def test_the_database_is_healthy_as_compose_asks(composed: Composition) -> None:
    kind, *words = services()["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    composed.hosts["postgres"].run([*words, f"--host={composed.hosts['postgres'].ip}"])


def test_mlflow_keeps_strangers_out(composed: Composition) -> None:
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    us = f"{VALUES['MLFLOW_ADMIN_USERNAME']}:{VALUES['MLFLOW_ADMIN_PASSWORD']}"
    assert composed.ask_mlflow(search, None) == 401
    assert composed.ask_mlflow(search, "admin:password") == 401
    assert composed.ask_mlflow(search, us) == 200
    assert composed.ask_mlflow(search, us, host="evil.example.org") == 403


def test_a_submitted_training_runs_there_and_comes_back(composed: Composition, tmp_path: Path) -> None:
    client = composed.hosts["client"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": TOKEN}
    client.environment.update(environment("buckets") | token)
    work = Work(
        client,
        tmp_path / "project",
        f"http://{composed.hosts['ray-head'].ip}:8265",
        workers=2,
        storage=STORAGE,
    )
    submitted = work.submit("train")
    assert submitted.wait(JOB_S) == 0, submitted.tail()
    assert work.run("dvc", "status", "train").out.strip() == "Data and pipelines are up to date."
    assert work.dense()["provenance"]["placement"] == "2 workers x 1 threads on cpu"
    names = composed.database.query(
        "mlflow", "select value from tags where key = 'mlflow.runName' and value = 'train'"
    )
    assert names == "train"
    assert composed.database.query("mlflow", "select count(*) from metrics where key = 'val/score'") != "0"
    listing = client.get(f"http://{composed.hosts['s3'].ip}:9000/mlflow")[1]
    assert b"<Key>" in listing, "no artifact of the run"
