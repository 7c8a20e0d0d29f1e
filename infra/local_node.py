"""A node that joins a Ray cluster of this machine and listens to loopback alone: local_cluster.py starts it
beside the head.

`ray start --address` asks for the same node, but refuses where Ray keeps to loopback, which it calls a Mac's
way.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ray._private.node import Node
from ray._private.parameter import RayParams

POLL_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A node of a Ray cluster of this machine; it lives as long as this process."
    )
    parser.add_argument("--address", required=True, help="host:port of the head")
    parser.add_argument("--cpus", type=int, required=True)
    parser.add_argument("--object-store-bytes", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="temporary folder, which all nodes share")
    arguments = parser.parse_args()
    params = RayParams(
        gcs_address=arguments.address,
        node_ip_address=arguments.address.rpartition(":")[0],
        num_cpus=arguments.cpus,
        object_store_memory=arguments.object_store_bytes,
        temp_dir=str(arguments.folder),
        # 0: every worker takes a port that is free, so that nodes and other clusters never meet.
        min_worker_port=0,
        max_worker_port=0,
    )
    node: Any = Node(params, head=False, shutdown_at_exit=True, spawn_reaper=True)
    print("Ray runtime started.", flush=True)
    while not node.dead_processes():
        time.sleep(POLL_S)
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    sys.exit("a process of this node has ended")


if __name__ == "__main__":
    main()
