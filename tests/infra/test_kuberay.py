"""infra/kuberay against the fields of KubeRay's CRDs and of Kubernetes' pods, and against what we promise of
them.
"""

import copy
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from infra.local_cluster import local_cluster
from tests.infra.manifests import INFRA, documents, problems
from tests.infra.processes import free_port, status, until
from tests.infra.ray_start import parsed
from tests.support.project import fresh_project

FILES = [INFRA / "kuberay/raycluster.yaml", INFRA / "kuberay/rayjob.yaml"]
HEALTH = {"/api/gcs_healthz", "/api/local_raylet_healthz"}


def manifest(kind: str) -> dict[str, Any]:
    return next(document for path in FILES for document in documents(path) if document["kind"] == kind)


def spec(kind: str) -> dict[str, Any]:
    inner: dict[str, Any] = manifest(kind)["spec"]
    return inner


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod of the manifests: its name here, and its spec."""
    cluster = spec("RayCluster")
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]
    yield "submitter", spec("RayJob")["submitterPodTemplate"]["spec"]


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_every_field_is_one_that_the_api_server_takes(kind: str) -> None:
    assert [*problems(manifest(kind), kind)] == []


def at(document: dict[str, Any], *path: str | int) -> Any:
    inner: Any = document
    for step in path:
        inner = inner[step]
    return inner


WORKER = ("spec", "workerGroupSpecs", 1)
CONTAINER = (*WORKER, "template", "spec", "containers", 0)
FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "a field that KubeRay does not know": (
        "RayCluster",
        lambda document: document["spec"].update(enableAutoscaling=True),
        ".spec.enableAutoscaling: unknown field",
    ),
    "a field of a pod that Kubernetes does not know": (
        "RayCluster",
        lambda document: at(document, *CONTAINER)["livenessProbe"].update(failureTreshold=3),
        ".spec.workerGroupSpecs[1].template.spec.containers[0].livenessProbe.failureTreshold: unknown field",
    ),
    "text for a number": (
        "RayCluster",
        lambda document: at(document, *WORKER).update(maxReplicas="4"),
        ".spec.workerGroupSpecs[1].maxReplicas: '4' is no integer",
    ),
    "a number for text": (
        "RayCluster",
        lambda document: at(document, "spec", "headGroupSpec", "rayStartParams").update({"num-cpus": 0}),
        ".spec.headGroupSpec.rayStartParams.num-cpus: 0 is no string",
    ),
    "a value that is none of the choices": (
        "RayCluster",
        lambda document: document["spec"]["authOptions"].update(mode="tokens"),
        ".spec.authOptions.mode: 'tokens' is none of ['disabled', 'token']",
    ),
    "a quantity that is none": (
        "RayCluster",
        lambda document: at(document, *CONTAINER)["resources"].update(limits={"memory": "8GB"}),
        ".spec.workerGroupSpecs[1].template.spec.containers[0].resources.limits.memory: '8GB' is no quantity",
    ),
    "an object for a list": (
        "RayCluster",
        lambda document: document["spec"].update(workerGroupSpecs={}),
        ".spec.workerGroupSpecs: {} is no list",
    ),
    "a worker group without its largest size": (
        "RayCluster",
        lambda document: at(document, *WORKER).pop("maxReplicas"),
        ".spec.workerGroupSpecs[1].maxReplicas: missing",
    ),
    "a cluster without a head": (
        "RayCluster",
        lambda document: document["spec"].pop("headGroupSpec"),
        ".spec.headGroupSpec: missing",
    ),
    "a container without a name": (
        "RayJob",
        lambda document: at(document, "spec", "submitterPodTemplate", "spec", "containers", 0).pop("name"),
        ".spec.submitterPodTemplate.spec.containers[0].name: missing",
    ),
    "a job with a field of another version": (
        "RayJob",
        lambda document: document["spec"].update(runtimeEnv="e30="),
        ".spec.runtimeEnv: unknown field",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    kind, inject, told = FAULTS[fault]
    broken = copy.deepcopy(manifest(kind))  # aliases of the file are one object: deepcopy keeps that
    inject(broken)
    assert told in [*problems(broken, kind)]


def test_ray_start_has_these_options() -> None:
    cluster = spec("RayCluster")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        parsed([f"--{option}={value}" for option, value in group["rayStartParams"].items()])


def test_one_version_of_ray_everywhere() -> None:
    assert spec("RayCluster")["rayVersion"] == ray.__version__


def test_the_token_is_asked_for_and_lies_in_a_secret() -> None:
    assert spec("RayCluster")["authOptions"] == {"mode": "token", "secretName": "espalier-ray-token"}
    assert "Secret" not in {document["kind"] for path in FILES for document in documents(path)}


def test_no_secret_literal() -> None:
    for name, pod in pods():
        for container in pod["containers"]:
            literals = [variable["name"] for variable in container.get("env", []) if "value" in variable]
            assert not [literal for literal in literals if re.search("TOKEN|PASSWORD|SECRET|KEY", literal)], (
                name
            )


def test_groups_start_from_no_pods() -> None:
    cluster = spec("RayCluster")
    assert cluster["enableInTreeAutoscaling"] is True
    assert {group["groupName"] for group in cluster["workerGroupSpecs"]} == {"cpu", "gpu"}
    for group in cluster["workerGroupSpecs"]:
        assert 0 == group["minReplicas"] == group["replicas"] < group["maxReplicas"]


def test_only_the_gpu_group_asks_for_gpus() -> None:
    asked = {
        name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0) for name, pod in pods()
    }
    assert asked == {"head": 0, "cpu": 0, "gpu": 1, "submitter": 0}


def test_pods_are_not_root_and_gain_nothing() -> None:
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }, name
    assert spec("RayCluster")["autoscalerOptions"]["securityContext"]["allowPrivilegeEscalation"] is False


def test_requests_and_limits_are_stated() -> None:
    stated = {name: pod["containers"][0]["resources"] for name, pod in pods()}
    stated["autoscaler"] = spec("RayCluster")["autoscalerOptions"]["resources"]
    for name, resources in stated.items():
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= resources[bound].keys(), name


def test_images_are_pinned_and_one() -> None:
    images = {container["image"] for _, pod in pods() for container in pod["containers"]}
    assert len(images) == 1
    assert re.fullmatch(r".+:\d+\.\d+\.\d+", images.pop())


def test_probes_ask_what_ray_answers_without_the_token() -> None:
    for name, pod in pods():
        container = pod["containers"][0]
        if name != "submitter":
            assert {
                container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")
            } <= HEALTH, name


def test_a_real_head_answers_the_probes_without_the_token_and_nothing_else() -> None:
    dashboard, agent = free_port(), free_port()
    options = [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    with local_cluster(1, 1, ["--include-dashboard=true", "--dashboard-host=127.0.0.1", *options]) as client:
        token = {"Authorization": f"Bearer {Path(client['RAY_AUTH_TOKEN_PATH']).read_text()}"}
        until(
            lambda: status(f"http://127.0.0.1:{dashboard}/api/gcs_healthz") == 200,
            60,
            "the head is not healthy",
        )
        until(
            lambda: status(f"http://127.0.0.1:{agent}/api/local_raylet_healthz") == 200,
            60,
            "the raylet is not healthy",
        )
        assert status(f"http://127.0.0.1:{dashboard}/api/jobs/") == 401
        assert status(f"http://127.0.0.1:{dashboard}/api/jobs/", {"Authorization": "Bearer guess"}) == 403
        assert status(f"http://127.0.0.1:{dashboard}/api/jobs/", token) == 200


def test_pods_share_no_disk_and_reach_what_a_submitted_job_asks_for() -> None:
    """Not optional: a pod without them would start, and refuse every job."""
    secrets = [{"secretRef": {"name": "espalier-s3"}}, {"secretRef": {"name": "espalier-mlflow"}}]
    for name, pod in pods():
        container = pod["containers"][0]
        assert "volumes" not in pod, name
        assert name == "submitter" or container["envFrom"] == secrets, name


def test_the_job_runs_on_this_cluster() -> None:
    assert spec("RayJob")["clusterSelector"] == {"ray.io/cluster": manifest("RayCluster")["metadata"]["name"]}


def test_the_job_brings_its_code_and_keeps_the_status_of_dvc(tmp_path: Path) -> None:
    """The entrypoint, run by a shell in which `dvc` only tells how it was called; `repro` fails."""
    (tmp_path / "dvc").write_text('#!/bin/sh\necho "$@" >> "$CALLS"\n[ "$1" != repro ] || exit 7\n')
    (tmp_path / "dvc").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    assert (
        subprocess.run(["sh", "-c", spec("RayJob")["entrypoint"]], env=environment, check=False).returncode
        == 7
    )
    said = (tmp_path / "calls").read_text().splitlines()
    assert said == ["config --local core.no_scm true", "repro --pull --allow-missing", "push --run-cache"]
    assert yaml.safe_load(spec("RayJob")["runtimeEnvYAML"]).keys() == {"working_dir"}


def test_what_the_job_made_is_taken_from_the_remote(tmp_path: Path) -> None:
    """The entrypoint with one stage, in a folder without git; then the README's command in a clone."""
    command = spec("RayJob")["entrypoint"].replace("--allow-missing", "--allow-missing prepare")
    with fresh_project(tmp_path / "pod") as pod, fresh_project(tmp_path / "clone") as clone:
        for project in (pod, clone):
            project.run(
                "dvc", "remote", "add", "-q", "--default", "store", str(tmp_path / "remote")
            ).expect_success()
        shutil.rmtree(pod.root / ".git")
        pod.run("sh", "-c", command).expect_success()
        done = clone.run("dvc", "repro", "--pull", "--allow-missing", "prepare").expect_success()
        assert "Stage 'prepare' is cached - skipping run, checking out outputs" in done.out
        assert clone.digests("data/prepared") == pod.digests("data/prepared")
