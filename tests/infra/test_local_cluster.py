"""infra/local_cluster.py as `make cluster` starts it: heard on loopback alone, and by nobody without its
token.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local_cluster import local_cluster
from tests.support.listening import listens, open_beyond_loopback

NODES = 2
JOIN = """
import ray, sys
ray.init(log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def node():
    import time
    time.sleep(0.5)
    return ray.get_runtime_context().get_node_id()
print(len(set(ray.get([node.remote() for _ in range(int(sys.argv[1]))]))))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with local_cluster(nodes=NODES, cpus_per_node=1) as client:
        yield client


def join(environment: dict[str, str], home: Path) -> "subprocess.Popen[str]":
    """A client that runs a task on each node and says on how many they ran."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    quick = {"RAY_NUM_REDIS_GET_RETRIES": "1", "HOME": str(home)}
    command, pipe = [sys.executable, "-c", JOIN, str(NODES)], subprocess.PIPE
    return subprocess.Popen(command, env=bare | quick | environment, stdout=pipe, stderr=pipe, text=True)


def test_nodes_and_client_work_and_are_heard_on_loopback_alone(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    heard: set[str] = set()
    processes = psutil.Process().children(recursive=True)
    assert listens(processes)
    client = join(cluster, tmp_path)
    while client.poll() is None:
        heard |= open_beyond_loopback(psutil.Process().children(recursive=True))
    out, err = client.communicate()
    assert out.strip() == str(NODES), err
    assert heard == set()


def test_no_other_user_enters_the_folder_of_its_nodes(cluster: dict[str, str]) -> None:
    folder = Path(cluster["RAY_AUTH_TOKEN_PATH"]).parent
    opened = [path for path in folder.rglob("*") if path.is_dir() and path.stat().st_mode & 0o002]
    assert len(opened) > NODES, "Ray opens its folders"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert list(folder.rglob("plasma_store*")), "its sockets lie there too"


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_who_has_no_token_or_a_wrong_one_is_refused(
    cluster: dict[str, str], tmp_path: Path, token: str | None
) -> None:
    """Over gRPC, by which drivers come; the dashboard's HTTP is in tests/cluster/test_refused.py."""
    without = {name: value for name, value in cluster.items() if not name.startswith("RAY_AUTH")}
    mode = (
        {"RAY_AUTH_MODE": "disabled"}
        if token is None
        else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    )
    client = join(without | mode, tmp_path)
    out, err = client.communicate(timeout=120)
    assert (client.returncode, out) == (1, "")
    assert "token" in err.lower(), err
