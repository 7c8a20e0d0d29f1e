"""A cluster loses a node while it trains with `exact_elastic`: training goes on with fewer workers to the
same weights.
"""

import time
from pathlib import Path

import psutil
import pytest

from infra.local_cluster import local_cluster
from pipeline.base.files import sha256_file
from pipeline.models.disk.artifact import read_spec
from tests.chaos.test_chaos import newest_event
from tests.support.project import Project, copied_project, fresh_project, until
from tests.support.trainings import WITHOUT_TRAINING, nodes_with_workers, reached, workers_with_nodes

EPOCHS = 80
EXACT = {"train": {"epochs": EPOCHS, "exact_elastic": True}, "resources": {"min_workers": 1, "workers": 2}}


def weights(project: Project) -> str:
    return sha256_file(project.root / "artifacts/dense/weights.safetensors")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("exact", [True, False])
def test_with_a_lost_node_it_goes_on_to_the_same_weights(
    tmp_path: Path, exact: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin without `exact_elastic` must fail: it goes on too, and ends in other weights."""
    (tmp_path / "one").mkdir()
    with fresh_project(tmp_path / "one") as alone:
        alone.change_params(EXACT)
        alone.change_params(
            {"train": {"exact_elastic": exact}, "resources": {"min_workers": None, "workers": 1}}
        )
        alone.run("dvc", "repro", "train").expect_success()
        with (
            local_cluster(nodes=2, cpus_per_node=1) as client,
            copied_project(alone, tmp_path / "two", leave_out=WITHOUT_TRAINING) as project,
        ):
            project.change_params(EXACT)
            project.change_params({"train": {"exact_elastic": exact}})
            command = project.start("dvc", "repro", "train", **client)
            port = client["RAY_ADDRESS"].rpartition(":")[2]
            reached(project, 5, command)
            head = min(nodes_with_workers(port), key=lambda pid: psutil.Process(pid).create_time())
            lost = next(pid for pid in nodes_with_workers(port) if pid != head)
            old, start = workers_with_nodes(port).keys(), time.monotonic()
            psutil.Process(lost).kill()
            # A result alone would not do: those of before the fault may come in late.
            until(
                lambda: bool(now := workers_with_nodes(port).keys()) and not now & old,
                "a new worker starts",
                300.0,
            )
            since = time.time()
            until(lambda: newest_event(project) > since, "training goes on without the node", 300.0)
            seconds = time.monotonic() - start
            command.wait().expect_success()
            assert (weights(project) == weights(alone)) is exact
            placement = str(read_spec(project.root / "artifacts/dense").provenance["placement"])
            assert placement == "2 workers x 1 threads on cpu, then 1 workers x 1 threads on cpu"
    with capsys.disabled():
        print(f"\nlost node: goes on after {seconds:.0f} s")  # noqa: T201
