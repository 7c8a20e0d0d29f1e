"""The whole of a small installation: a Ray cluster of three hosts, the services it leans on, and a user's
machine.
"""

import http.client
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.hosts import namespaces
from tests.support.hosts.hosts import Host
from tests.support.hosts.network import Network
from tests.support.hosts.ray_nodes import RayCluster
from tests.support.hosts.services import S3, Mlflow, Postgres, database_user, postgres_tools

CPUS_PER_NODE = 2
TOOLS = {
    "DVC_SITE_CACHE_DIR": "/tmp/dvc",  # its default lies where a host may not write
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
PROGRAMS = ("ray", "mlflow", "moto_server")


@dataclass(frozen=True)
class Topology:
    """All parts, running.

    The hosts of the cluster and the client have the variables of S3, MLflow and Ray's token.
    """

    network: Network
    head: Host
    workers: Sequence[Host]
    services: Host
    client: Host
    database: Postgres
    store: S3
    mlflow: Mlflow
    ray: RayCluster

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that the cluster was sent, as its jobs API tells."""
        headers = {"Authorization": f"Bearer {self.ray.token}"}
        status, body = self.head.get(f"{self.ray.head.jobs_url}/api/jobs/", headers)
        assert status == http.client.OK, body
        jobs: list[dict[str, Any]] = json.loads(body)
        return jobs


def unsupported() -> str | None:
    """Why no topology can be started on this machine, or None."""
    missing = [tool for tool in PROGRAMS if shutil.which(tool, path=str(Path(sys.prefix) / "bin")) is None]
    if missing:
        return f"not installed beside this python: {', '.join(missing)}"
    try:
        postgres_tools()
        database_user()
    except (FileNotFoundError, LookupError) as error:
        return str(error)
    return namespaces.unsupported()


@contextmanager
def running_topology(
    logs: Path, *, workers: int = 2, cpus_per_node: int = CPUS_PER_NODE
) -> Iterator[Topology]:
    """Start everything, side by side, and end it with the block, also after a failure. Logs stay in `logs`.

    Raises TimeoutError with the end of the log of what did not start.
    """
    with Network(logs) as network:
        head = network.add_host("head")
        others = [network.add_host(f"worker-{number}") for number in range(1, workers + 1)]
        services, client = network.add_host("services"), network.add_host("client")
        store, database = S3(services), Postgres(services)
        mlflow = Mlflow(services, database, store)
        ray = RayCluster(head, others, cpus_per_node)
        ray.admit(client)
        for host in [head, *others, client]:
            host.environment.update({**store.environment, **mlflow.environment, **TOOLS})
        ray.start()
        store.start()
        database.start()
        database.wait_ready()
        mlflow.start()
        for part in (store, mlflow, ray):
            part.wait_ready()
        yield Topology(network, head, others, services, client, database, store, mlflow, ray)
