"""A training on a cluster of no workers, whose autoscaler starts them; and the limits that
Kubernetes tells.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import TrainingError
from pipeline.launch.autoscaler import HEAD, derived_limits
from pipeline.launch.resources import Resources, choose_placement
from tests.infra.autoscaling import autoscaling_cluster
from tests.infra.manifests import INFRA, documents
from tests.support.places import ROOT
from tests.support.project import Command, Project, fresh_project, read_json, until

CHANGES: dict[str, Any] = {"train": {"epochs": 60}, "resources": {"threads_per_worker": 1, "device": "cpu"}}
STARTS_S = 300.0


def train(project: Project, client: Mapping[str, str], **resources: Any) -> Command:
    project.change_params({"resources": resources})
    return project.start("dvc", "repro", "train", **client)


def of_cluster(client: Mapping[str, str], name: str | None = None) -> list[psutil.Process]:
    """Processes that have its token, of its nodes and of what runs there, with this name; the
    oldest first.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if (
                name in (None, process.name())
                and process.environ().get("RAY_AUTH_TOKEN_PATH") == client["RAY_AUTH_TOKEN_PATH"]
            ):
                found.append((process.create_time(), process))
        except psutil.Error:
            continue
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


@pytest.mark.timeout(1500)
def test_nodes_are_waited_for_and_replaced_and_what_can_never_be_is_refused_at_once(tmp_path: Path) -> None:
    with autoscaling_cluster(cpus=1, most=2) as client, fresh_project(tmp_path / "project") as project:
        project.change_params(CHANGES)
        refused = train(project, client, workers=3, await_nodes_s=600).wait()
        assert refused.status != 0
        said = f"at {client['RAY_ADDRESS']}, with all nodes that its autoscaler may start, has 2x1 CPUs"
        assert (
            f"3 workers of 1 CPUs each do not fit: the cluster {said}; lower resources.workers" in refused.err
        )
        assert len(of_cluster(client, "raylet")) == 1

        here = train(project, client, workers=2, await_nodes_s=0).wait()
        assert here.status != 0
        assert f"the cluster at {client['RAY_ADDRESS']} has no CPUs to train on" in here.err

        training = train(project, client, workers="auto", await_nodes_s=600)
        until(
            lambda: [*project.root.glob(".espalier/runs/train-*/progress.json")],
            "the training is under way",
            STARTS_S,
        )
        head, first, second = of_cluster(client, "raylet")
        second.kill()
        done = training.wait().expect_success()
        assert (
            "waiting up to 600 s for nodes of the cluster's autoscaler: room for 0 of 2 workers" in done.err
        )
        assert {head, first} < set(of_cluster(client, "raylet")), "no node came in the place of the dead one"
        provenance = read_json(project.root / "artifacts/dense/model.json")["provenance"]
        assert provenance["placement"] == "2 workers x 1 threads on cpu"
    assert of_cluster(client) == []


READ = """
import json, sys
from pathlib import Path
from pipeline.launch.autoscaler import _of_kubernetes
print(json.dumps(_of_kubernetes("espalier", Path(sys.argv[1]))))
"""
"""In a process of its own, because Ray reads where the API server is when it is imported."""
PATH = "/apis/ray.io/v1/namespaces/team/rayclusters/espalier"


def raycluster(**changes: Any) -> dict[str, Any]:
    """Ours, as the API server tells it."""
    cluster = next(
        document
        for document in documents(INFRA / "kuberay/raycluster.yaml")
        if document["kind"] == "RayCluster"
    )
    return {
        **cluster,
        "metadata": {"name": "espalier", "namespace": "team"},
        "spec": {**cluster["spec"], **changes},
    }


@contextmanager
def api_server(folder: Path, answer: dict[str, Any] | None) -> Iterator[dict[str, str]]:
    """Kubernetes' API, with TLS, as far as one RayCluster; None: the pod may not read it.

    Yields variables of a pod.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if answer and self.path == PATH else 403)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None: ...

    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=api",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT_HTTPS": str(server.server_port),
                "RAY_KUBERAY_CA_CERT_PATH": certificate,
                # else Ray asks for the token of a pod, at a path of the system
                "RAY_KUBERAY_CLIENT_CERT_PATH": certificate,
                "RAY_KUBERAY_CLIENT_KEY_PATH": key,
            }
        finally:
            server.shutdown()
            thread.join()


def read(folder: Path, answer: dict[str, Any] | None) -> tuple[Any, str]:
    """What a training on the head's pod reads there, and what it says."""
    (folder / "namespace").write_text("team")
    with api_server(folder, answer) as pod:
        command = [sys.executable, "-c", READ, str(folder / "namespace")]
        done = subprocess.run(
            command, env={**os.environ, **pod}, cwd=ROOT, capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout), done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_kubernetes_tells_how_many_pods_may_be(tmp_path: Path) -> None:
    config, said = read(tmp_path, raycluster())
    assert "cannot be read" not in said
    limits = derived_limits(config, [{HEAD: 1.0}])
    assert limits is not None
    resources = {**documents(ROOT / "params.yaml")[0]["resources"], "threads_per_worker": "auto"}

    def placed(**changes: Any) -> tuple[int, int, str]:
        return choose_placement(
            Resources.model_validate(resources | changes), limits.nodes, 512, "here", limits.most
        )

    assert placed() == (2, 8, "cuda")
    assert placed(device="cpu", workers=8, threads_per_worker=4) == (8, 4, "cpu")
    with pytest.raises(TrainingError, match="has 4x8 CPUs and 4x1 GPUs"):
        placed(device="cuda", workers=5)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize(
    "answer", [None, raycluster(enableInTreeAutoscaling=False)], ids=["forbidden", "no autoscaler"]
)
def test_kubernetes_tells_nothing(tmp_path: Path, answer: dict[str, Any] | None) -> None:
    config, said = read(tmp_path, answer)
    assert config is None
    assert ("what the cluster's autoscaler may start cannot be read (403 Client Error" in said) is (
        answer is None
    )
