"""A Ray cluster of several nodes (raylets) on this machine, to try what a real one does.

    python infra/local_cluster.py --nodes 2 --cpus 2      # prints an `export` line; Ctrl-C ends it
    export RAY_ADDRESS=... ; make repro                   # in another shell, after that line

Every node has ports of its own; all share a temporary folder, which goes with the cluster. Only processes
started here are ended. Nodes listen to loopback alone, and ask for a token, which keeps out other users of
this machine.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
"""A node alone needs about 1.5 s to end after SIGTERM."""
POLL_S = 0.1
STARTED = "Ray runtime started."
"""What `ray start` prints when its node has joined the cluster."""
OBJECT_STORE_BYTES = 100_000_000
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Else Ray takes 127.0.0.1 for this machine's address in its network and listens to everyone; nodes and
clients must agree."""
RAYS_OWN = "r"
"""Ray's folder in ours: Ray opens its folder and all in it to every user of the machine (0777), and ours lets
none in."""
NODE = Path(__file__).parent / "local_node.py"
SILENT = {"RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}
"""Else a head reports to Ray's makers that it reports nothing."""
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
}
"""Of the head, which asks every node: one that is silent counts as lost after three checks in vain, about 20
s. Ray's defaults (3 s, 10 s, 5 times) take 65 s. A cable that is out for 8 s fails two checks at most, as
TCP repeats itself after 12.6 s. A node that was given up ends itself: whoever runs it (Kubernetes,
compose, the launcher's autoscaler) starts it, and it joins."""


@contextmanager
def local_cluster(
    nodes: int, cpus_per_node: int, head_options: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Start the nodes and yield the variables by which a client finds them; end their processes afterwards.

    `head_options` are further options of `ray start` for the first node; they win over those set here.

    Raises TimeoutError where a node does not come up.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # of this user alone (0700)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    client = {"RAY_ADDRESS": f"{HOST}:{_free_port()}", **token, **LOOPBACK}
    (folder / "token").touch(0o600)
    (folder / "token").write_text(secrets.token_hex(32), encoding="utf-8")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(nodes):
            options = head_options if number == 0 else ()
            processes.append(_start_node(number, client, cpus_per_node, folder, options))
            _wait_until_started(processes[-1], folder / f"node-{number}.log")
        yield client
    finally:
        _stop(processes)
        shutil.rmtree(folder, ignore_errors=True)


def _start_node(
    number: int, client: dict[str, str], cpus: int, folder: Path, options: Sequence[str]
) -> subprocess.Popen[bytes]:
    command = (
        _head(client["RAY_ADDRESS"], cpus, folder, options)
        if number == 0
        else _worker(client["RAY_ADDRESS"], cpus, folder)
    )
    # `ray start` obeys RAY_ADDRESS too, and a head must not.
    environment = {
        name: value
        for name, value in {**HEALTH_CHECKS, **SILENT, **os.environ, **client}.items()
        if name != "RAY_ADDRESS"
    }
    with (folder / f"node-{number}.log").open("wb") as log:
        # A session of its own, so that a Ctrl-C reaches us first.
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _head(address: str, cpus: int, folder: Path, options: Sequence[str]) -> list[str]:
    return [
        *(str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats", "--head"),
        *(
            f"--port={address.rpartition(':')[2]}",
            "--include-dashboard=false",
            f"--temp-dir={folder / RAYS_OWN}",
        ),
        f"--node-ip-address={HOST}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        # 0: every worker takes a port that is free, so that nodes and other clusters never meet.
        *("--min-worker-port=0", "--max-worker-port=0"),
        *options,
    ]


def _worker(address: str, cpus: int, folder: Path) -> list[str]:
    asked = [
        "--address",
        address,
        "--cpus",
        str(cpus),
        "--object-store-bytes",
        str(OBJECT_STORE_BYTES),
        "--folder",
        str(folder / RAYS_OWN),
    ]
    return [sys.executable, str(NODE), *asked]


def _wait_until_started(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while STARTED not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"a node of the cluster did not start:\n{log.read_text(errors='replace')}")
        time.sleep(POLL_S)


def _stop(nodes: list[subprocess.Popen[bytes]]) -> None:
    """Ask all nodes at once to end (SIGTERM), then kill what is left of their sessions."""
    members = _sessions({node.pid for node in nodes})
    for node in nodes:
        node.terminate()
    _, left = psutil.wait_procs(members, STOP_TIMEOUT_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):  # it may end between the wait and this
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
    with local_cluster(arguments.nodes, arguments.cpus) as client:
        variables = " ".join(f"{name}={value}" for name, value in client.items())
        print(f"export {variables}   # {arguments.nodes} nodes; Ctrl-C here ends them", flush=True)
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
