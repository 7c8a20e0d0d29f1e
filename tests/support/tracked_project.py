"""A tiny project with a DVC graph, for tests of tracking and registering, and a real MLflow server on
loopback.
"""

import atexit
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

from pipeline.tracking import local as tracking
from pipeline.tracking.store import Store, connect

DVC = """
stages:
  prepare:
    cmd: python -m stages.prepare
    params: [data]
    deps: [data/raw]
    outs: [data/prepared]
  train:
    cmd: python -m stages.train
    params: [train]
    deps: [data/prepared]
    outs: [artifacts/dense]
  evaluate:
    foreach:
      dense: {}
    do:
      cmd: python -m stages.evaluate ${key}
      deps: ["artifacts/${key}"]
      outs: ["reports/${key}/metrics.json"]
  register:
    cmd: python -m stages.register
    params: [register]
    deps: [reports/dense]
    outs: [reports/verdict.json]
"""
PARAMS = """
data: {seed: 1}
train: {epochs: 3, milestones: [1, 2], schedule: cosine}
register: {model_name: tiny}
resources: {workers: 2}
"""


def make_project(root: Path, dvc: str = DVC, params: str = PARAMS) -> Path:
    """A project whose stages have all run, with an empty MLflow database."""
    write(root, "dvc.yaml", dvc)
    write(root, "params.yaml", params)
    write(root, "pipeline/code.py", "x = 1\n")
    write(root, "stages/train.py", "x = 2\n")
    write(root, "data/raw/images.bin", "raw")
    write(root, "data/prepared/manifest.json", "{}")
    write(root, "artifacts/dense/model.json", "{}")
    write(root, "reports/dense/metrics.json", '{"top1": 0.9}')
    empty_database(root)
    return root


def write(root: Path, path: str, text: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root / path


def empty_database(root: Path) -> None:
    (root / ".espalier/mlflow").mkdir(parents=True, exist_ok=True)
    shutil.copy(_template(), root / ".espalier/mlflow/mlflow.db")


@functools.cache
def _template() -> Path:
    """A database with MLflow's tables and nothing in them; to make one takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="espalier-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    connect(folder)
    made = folder / ".espalier/mlflow/mlflow.db"
    client = MlflowClient(f"sqlite:///{made}")
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    # The name stays taken by a deleted experiment, so it is renamed out of the way as well.
    client.rename_experiment(experiment.experiment_id, "template")
    client.delete_experiment(experiment.experiment_id)
    return made


def history(store: Store, key: str, metric: str) -> list[tuple[int, float]]:
    """(step, value) of a metric of the run with this key, in the order of their steps."""
    run = store.find(key)
    assert run is not None, f"no run {key}"
    return sorted((point.step, point.value) for point in store.client.get_metric_history(run, metric))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """A real server with its own database and artifacts below `folder`, which a later one goes on with; its
    address.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "server.db").exists():
        shutil.copy(_template(), folder / "server.db")
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
    ]
    command += [
        "--artifacts-destination",
        str(folder / "store"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            _await(address, process, folder / "server.log")
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(20)


def _await(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the server did not start:\n{log.read_text()[-2000:]}")
