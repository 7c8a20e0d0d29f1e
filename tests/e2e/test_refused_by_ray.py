"""A cluster that answers and takes no training from here: one message that says why, instead of attempts in
vain.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local_cluster import local_cluster
from pipeline.launch.ray_cluster import LaunchRequest
from pipeline.train.transport.driver import read_user_error
from tests.support.fit_samples import job, prepared_digits
from tests.support.launch_samples import resources

DRIVER = """
import sys
from pathlib import Path
from pipeline.launch.driver import main

main(Path(sys.argv[1]), is_attached=False)
"""
OTHER_RAY = "import ray; ray.__version__ = '2.9.3'\n"


@pytest.fixture(scope="module")
def client() -> Iterator[dict[str, str]]:
    """The variables by which a cluster of one node is found, which asks for a token."""
    with local_cluster(nodes=1, cpus_per_node=1) as client:
        yield client


def refused(client: dict[str, str], folder: Path, before: str = "", **changes: str) -> str:
    """What the process that drives Ray leaves for the stage to say."""
    (folder / "run").mkdir()
    (folder / "wrong").write_text("0" * 64)
    request = LaunchRequest(
        job=job(prepared_digits(folder), folder / "run"), resources=resources(await_nodes_s=0.0)
    )
    (folder / "launch.json").write_text(request.model_dump_json())
    words = [sys.executable, "-c", before + DRIVER, str(folder / "launch.json")]
    with subprocess.Popen(words, env={**os.environ, **client, **changes}, stdin=subprocess.PIPE) as driver:
        assert driver.wait(60) == 0, "it would be tried again"
    fault = read_user_error(request.job)
    assert fault is not None
    return fault


def test_a_token_that_is_missing_or_wrong(client: dict[str, str], tmp_path: Path) -> None:
    wrong = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "a" / "wrong")}
    for name in "abc":
        (tmp_path / name).mkdir()
    before = f"the Ray cluster at {client['RAY_ADDRESS']} refuses the token; "
    assert (
        refused(client, tmp_path / "a", **wrong)
        == f"{before}compare {tmp_path}/a/wrong with the token of the cluster's head"
    )
    said = refused(client, tmp_path / "b", RAY_AUTH_MODE="disabled")
    assert (
        said == f"{before}set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
    )
    said = refused(client, tmp_path / "c", RAY_AUTH_TOKEN_PATH="", HOME=str(tmp_path))
    assert said == f"{before}set RAY_AUTH_TOKEN_PATH to a file with the cluster's token"


def test_another_version(client: dict[str, str], tmp_path: Path) -> None:
    said = refused(client, tmp_path, OTHER_RAY)
    assert said.startswith(
        f"the Ray cluster at {client['RAY_ADDRESS']} is of another version; install the same: Version "
        "mismatch: "
    )
    assert "Ray: 2.9.3" in said
    assert "\n" not in said
