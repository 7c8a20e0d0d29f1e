"""Images/s of the train stage with an MLflow server that answers, and with one that is dead, in turns."""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml

from benchmarks.training import make_data
from pipeline.compress.session import device_name
from pipeline.params import read_yaml
from pipeline.report import read_journal
from pipeline.tracking.store import ui_command

ROWS = 6_000
EPOCHS = 8
"""The first is left out: kernels and caches warm up, and the courier imports MLflow."""
START_S = 120.0


def main(arguments: argparse.Namespace) -> None:
    machine = f"{device_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    print(f"{machine}, n = {arguments.rounds}, medians (spread); images/s of ResNet-20 with a live and with a dead MLflow")
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = make_data(Path(name) / "noise", ROWS)
        for workers in arguments.workers:
            live, ratios = [], []
            for _ in range(arguments.rounds):
                with mlflow_server(Path(name)) as address:
                    live.append(images_per_s(data, workers, address))
                ratios.append(images_per_s(data, workers, address) / live[-1])  # nobody listens there any more
            ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
            print(f"{workers} workers: live {statistics.median(live):,.0f}, dead / live {ratio}", flush=True)


def images_per_s(data: Path, workers: int, address: str) -> float:
    """Of the training in a stage of its own, the median of its epochs."""
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        root = Path(name)
        for item in ("pipeline", "stages", "dvc.yaml"):
            (root / item).symlink_to(Path(item).absolute())
        (root / "data/init").mkdir(parents=True)
        (root / "data/prepared").symlink_to(data)
        params = read_yaml(Path("presets/cifar10.yaml"))
        params["resources"] |= {"workers": workers, "threads_per_worker": 1}
        params["train"] |= {"epochs": EPOCHS}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        environment = {**os.environ, "MLFLOW_TRACKING_URI": address}
        subprocess.run([sys.executable, "-m", "stages.train"], cwd=root, env=environment, stderr=subprocess.DEVNULL, check=True)
        events = [event for path in (root / ".espalier/journals").glob("train-*.jsonl") for event in read_journal(path)]
        speeds: list[float] = [event["values"]["images_per_s"] for event in events if "images_per_s" in event["values"]]
        return statistics.median(speeds[1:])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A server on loopback, for the time of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(ui_command(folder, port), stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, "MLflow's server did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
