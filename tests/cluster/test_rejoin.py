"""A node that was silent for so long that Ray gave it up: it ends itself, and comes back where somebody
starts it again.
"""

import json

from tests.support.hosts.network import Network
from tests.support.hosts.ray_nodes import STARTED, RayCluster, RayNode
from tests.support.project import until

ALIVE = """
import json, logging, ray, sys
ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
print(sys.argv[1], json.dumps([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]))
"""
MARK = "alive:"
"""Ray prints a raylet's last words among what its driver prints, also where it is told to print no logs."""
AGAIN = 'while :; do "$@"; echo "ended with status $?"; sleep 1; done'
"""As Docker's `restart: unless-stopped` (infra/compose.yaml) and Kubernetes do it."""
NOTICED_S = 120.0
BACK_S = 180.0


class RestartedNode(RayNode):
    def start(self) -> None:
        self.process = self.host.start(["sh", "-c", AGAIN, "restart", *self._command], self._environment)


def test_a_node_that_was_cut_off_comes_back(network: Network) -> None:
    host, other = network.add_host("head"), network.add_host("worker")
    cluster = RayCluster(host, [other], cpus_per_node=1)
    worker = cluster.nodes[1] = RestartedNode(other, [f"--address={cluster.head.address}"], 1)
    cluster.start()
    cluster.wait_ready()

    def alive() -> list[str]:
        lines = host.run(["python", "-c", ALIVE, MARK]).out.splitlines()
        (found,) = (json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK))
        return sorted(found)

    assert alive() == [host.ip, other.ip]
    other.link_down()
    until(lambda: alive() == [host.ip], "the head gives the silent node up", NOTICED_S)
    other.link_up()
    until(lambda: alive() == [host.ip, other.ip], "the node is back", BACK_S)
    said = worker.running().log.read_text(errors="replace")
    assert said.count(STARTED) == 2, said[-2000:]
    assert "ended with status" in said, "the same raylet went on"
