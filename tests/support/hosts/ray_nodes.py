"""A Ray cluster on several hosts that asks for a token, with a dashboard that other hosts reach for its Jobs
API.
"""

import http.client
import secrets
from collections.abc import Sequence
from pathlib import Path

from infra.local_cluster import HEALTH_CHECKS
from tests.support.hosts.hosts import Host
from tests.support.hosts.service import Service, write_secret

GCS_PORT = 6379
DASHBOARD_PORT = 8265
OBJECT_STORE_BYTES = 100_000_000
TOKEN_PATH = Path("/run/ray-token")
MEMORY_OF_OTHERS = {"RAY_memory_monitor_refresh_ms": "0"}
"""Hosts share this machine's memory, and Ray would kill jobs here for what others on it use."""
STARTED = "Ray runtime started."
"""What `ray start` prints when its node has joined the cluster."""


class RayNode(Service):
    """A raylet on a host, and on the head what the whole cluster needs; its temporary folder is the host's
    /tmp/ray.
    """

    def __init__(self, host: Host, role: Sequence[str], cpus: int) -> None:
        command = [
            *("ray", "start", "--block", "--disable-usage-stats", *role),
            *(
                f"--node-ip-address={host.ip}",
                f"--num-cpus={cpus}",
                f"--object-store-memory={OBJECT_STORE_BYTES}",
            ),
        ]
        super().__init__(host, command, {**HEALTH_CHECKS, **MEMORY_OF_OTHERS})

    def answers(self) -> bool:
        return STARTED in self.running().log.read_text(errors="replace")


class RayHead(RayNode):
    """The node that the others join, with the dashboard, which takes jobs from every host that
    has the token.
    """

    def __init__(self, host: Host, cpus: int, token: str) -> None:
        self.address = f"{host.ip}:{GCS_PORT}"
        self.jobs_url = f"http://{host.ip}:{DASHBOARD_PORT}"
        self._token = token
        role = [
            *("--head", f"--port={GCS_PORT}", "--include-dashboard=true"),
            *(f"--dashboard-host={host.ip}", f"--dashboard-port={DASHBOARD_PORT}"),
        ]
        super().__init__(host, role, cpus)

    def answers(self) -> bool:
        headers = {"Authorization": f"Bearer {self._token}"}
        return (
            super().answers() and self.host.get(f"{self.jobs_url}/api/version", headers)[0] == http.client.OK
        )


class RayCluster:
    """A head and workers, each on a host of its own. There is no `ray stop`: they end with their hosts."""

    def __init__(self, head: Host, workers: Sequence[Host], cpus_per_node: int) -> None:
        self.token = secrets.token_hex(32)
        self.head = RayHead(head, cpus_per_node, self.token)
        join = [f"--address={self.head.address}"]
        self.nodes = [self.head, *(RayNode(host, join, cpus_per_node) for host in workers)]
        for node in self.nodes:
            self.admit(node.host)

    def admit(self, host: Host) -> None:
        """Let the commands of a host use the cluster: they find the token in a file that only its owner may
        read.
        """
        write_secret(host.path(TOKEN_PATH), self.token)
        host.environment.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(TOKEN_PATH)})

    def start(self) -> None:
        """Start all nodes at once: those of the workers ask until the head answers.

        `wait_ready` says when all have joined.
        """
        for node in self.nodes:
            node.start()

    def wait_ready(self) -> None:
        """Raises TimeoutError with the end of the log of a node that did not join."""
        for node in self.nodes:
            node.wait_ready()
