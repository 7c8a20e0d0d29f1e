"""A Ray cluster of several nodes (raylets) on this machine, on loopback, to try what a real one does.

    python infra/local_cluster.py --nodes 2 --cpus 2      # prints the address; Ctrl-C ends it
    RAY_ADDRESS=127.0.0.1:<port> make repro

Every node has ports of its own; all share a temporary folder, which goes with the cluster. Only processes
started here are ended.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
"""A node alone needs about 1.5 s to end after SIGTERM."""
POLL_S = 0.2
ALIVE = 0
"""GcsNodeInfo.GcsNodeState in Ray's protocol."""
OBJECT_STORE_BYTES = 100_000_000


@contextmanager
def local_cluster(nodes: int, cpus_per_node: int) -> Iterator[str]:
    """Start the nodes and yield the cluster's address; end their processes afterwards.

    Raises TimeoutError where a node does not come up.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    address = f"{HOST}:{_free_port()}"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(nodes):
            processes.append(_start_node(number, address, cpus_per_node, folder))
            _wait_for_nodes(address, number + 1, processes[-1], folder)
        yield address
    finally:
        _stop(processes)
        shutil.rmtree(folder, ignore_errors=True)


def _start_node(number: int, address: str, cpus: int, folder: Path) -> subprocess.Popen[bytes]:
    place = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}"]
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"),
        *(place if number == 0 else [f"--address={address}"]),
        f"--node-ip-address={HOST}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        # 0: every worker takes a port that is free, so that nodes and other clusters never meet.
        *("--min-worker-port=0", "--max-worker-port=0"),
    ]
    # A session of its own, so that a Ctrl-C reaches us first.
    with (folder / f"node-{number}.log").open("wb") as log:
        return subprocess.Popen(command, env=_environment(), stdout=log, stderr=log, start_new_session=True)


def _environment() -> dict[str, str]:
    # Without a mode Ray writes a token file into the home folder; on loopback no other host can connect.
    return {"RAY_AUTH_MODE": "disabled", **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}}


def _wait_for_nodes(address: str, count: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _num_nodes(address) >= count:
            return
        time.sleep(POLL_S)
    log = (folder / f"node-{count - 1}.log").read_text(errors="replace")
    raise TimeoutError(f"node {count - 1} of the cluster at {address} did not start:\n{log}")


def _num_nodes(address: str) -> int:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        if probe.connect_ex((host, int(port))) != 0:
            return 0
    nodes = GcsClient(address=address).get_all_node_info(timeout=5)
    return sum(1 for node in nodes.values() if node.state == ALIVE)


def _stop(nodes: list[subprocess.Popen[bytes]]) -> None:
    """Ask all nodes at once to end (SIGTERM), then kill what is left of their sessions."""
    members = _sessions({node.pid for node in nodes})
    for node in nodes:
        node.terminate()
    _, left = psutil.wait_procs(members, STOP_TIMEOUT_S)
    for process in left:
        process.kill()
    psutil.wait_procs(left, STOP_TIMEOUT_S)
    for node in nodes:
        node.wait()


def _sessions(leaders: set[int]) -> list[psutil.Process]:
    """Every process of these sessions, also one whose parent is gone."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in leaders:
                members.append(process)
        except ProcessLookupError:
            continue
    return members


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description="Start a Ray cluster of several nodes on this machine.")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="CPUs of each node")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    with local_cluster(arguments.nodes, arguments.cpus) as address:
        print(f"export RAY_ADDRESS={address}   # {arguments.nodes} nodes; Ctrl-C here ends them", flush=True)
        signal.pause()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Leave the block in `main`, once: a second Ctrl-C must not cut off the end of the nodes.

    A handler, not a blocked signal: nodes inherit a blocked SIGTERM, and then do not end at ours.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    main()
