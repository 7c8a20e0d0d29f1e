"""A training on a cluster of no workers, whose autoscaler starts them; and the limits that our own files set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.project import Done, Project, fresh_project, read_json
from tests.infra.autoscaling import autoscaling_cluster

CHANGES: dict[str, Any] = {"train": {"epochs": 2}, "resources": {"threads_per_worker": 1, "device": "cpu"}}


def train(project: Project, client: Mapping[str, str], **resources: Any) -> Done:
    project.change_params({"resources": resources})
    return project.run("dvc", "repro", "train", **client)


def of_cluster(client: Mapping[str, str]) -> list[str]:
    """Names of the processes that have its token: of its nodes, and of what runs there."""
    names = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_AUTH_TOKEN_PATH") == client["RAY_AUTH_TOKEN_PATH"]:
                names.append(process.name())
        except psutil.Error:
            continue
    return names


@pytest.mark.timeout(900)
def test_nodes_are_waited_for_and_what_can_never_be_is_refused_at_once(tmp_path: Path) -> None:
    with autoscaling_cluster(cpus=1, most=2) as client, fresh_project(tmp_path / "project") as project:
        project.change_params(CHANGES)
        refused = train(project, client, workers=3, await_nodes_s=600)
        assert refused.status != 0
        said = f"at {client['RAY_ADDRESS']}, with all nodes that its autoscaler may start, has 2x1 CPUs"
        assert f"3 workers of 1 CPUs each do not fit: the cluster {said}; lower resources.workers" in refused.err
        assert of_cluster(client).count("raylet") == 1

        here = train(project, client, workers=2, await_nodes_s=0)
        assert here.status != 0
        assert f"the cluster at {client['RAY_ADDRESS']} has no CPUs to train on" in here.err

        done = train(project, client, workers="auto", await_nodes_s=600).expect_success()
        assert "waiting up to 600 s for nodes of the cluster's autoscaler: room for 0 of 2 workers" in done.err
        assert of_cluster(client).count("raylet") == 3
        provenance = read_json(project.root / "artifacts/dense/model.json")["provenance"]
        assert provenance["placement"] == "2 workers x 1 threads on cpu"
    assert of_cluster(client) == []
