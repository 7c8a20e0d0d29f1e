"""Images/s of the train stage while MLflow answers, and while it is dead, by turns within one training.

By turns, because two trainings differ by more than the 2 % in question; so a server that is dead from the
start is not a row of its own. For the training it is the same: it writes a journal, whoever reads that, and
the courier beside it, once its session has failed, asks every RETRY_S for a new one, as one that never had
any.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import make_data
from pipeline.base.yaml_file import read_yaml
from pipeline.tracking.journal import read_journal
from pipeline.tracking.ui import ui

ROWS = 3_000
TURN = 2
"""Epochs with a live server, then with a dead one. The last of a turn counts: the change falls into the
first."""
POLL_S = 0.05
START_S = 120.0


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each number of workers."""
    with tempfile.TemporaryDirectory(prefix="e-") as name, mlflow_server(Path(name)) as port:
        data = make_data(Path(name) / "noise", ROWS)
        for workers in arguments.workers:
            live, dead = by_turns(data, workers, Door(port), arguments.rounds)
            ratios = [down / up for up, down in zip(live, dead, strict=True)]
            yield {"workers": workers, "images/s": Figure(live, 0), "dead / live": Figure(ratios)}


BENCHMARK = Benchmark(measure, ("workers", "images/s", "dead / live"), ("torch", "mlflow"))


def by_turns(data: Path, workers: int, door: "Door", rounds: int) -> tuple[list[float], list[float]]:
    """Of one training in a stage of its own, the speeds with the server live and dead.

    A round before them warms up.
    """
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        root = Path(name)
        for item in ("pipeline", "stages", "dvc.yaml"):
            (root / item).symlink_to(Path(item).absolute())
        (root / "data/init").mkdir(parents=True)
        (root / "data/prepared").symlink_to(data)
        params = read_yaml(Path("presets/cifar10.yaml"))
        params["resources"] |= {"workers": workers, "threads_per_worker": 1}
        params["train"] |= {"epochs": 2 * TURN * (rounds + 1)}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{door.port}"}
        stage = subprocess.Popen(
            [sys.executable, "-m", "stages.train"], cwd=root, env=environment, stderr=subprocess.DEVNULL
        )
        try:
            while stage.poll() is None:
                door.lead(len(_speeds(root)) // TURN % 2 == 0)
                time.sleep(POLL_S)
        finally:
            stage.kill()
            door.lead(False)
        assert stage.returncode == 0, "the train stage failed"
        turns = _speeds(root)[TURN - 1 :: TURN]
        return turns[2::2], turns[3::2]


def _speeds(root: Path) -> list[float]:
    """Of the epochs that are done."""
    events = [
        event for path in (root / ".espalier/journals").glob("train-*.jsonl") for event in read_journal(path)
    ]
    return [event["values"]["images_per_s"] for event in events if "images_per_s" in event["values"]]


class Door:
    """A port on loopback that leads to another or, like that of a dead server, refuses who comes and drops
    who is there.
    """

    def __init__(self, to: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._to = to
        self._ends: list[socket.socket] = []

    def lead(self, wanted: bool) -> None:
        if wanted and not self._ends:
            self._ends = [socket.create_server(("127.0.0.1", self.port))]
            threading.Thread(target=self._let_in, args=(self._ends[0],), daemon=True).start()
        elif not wanted:
            for end in self._ends:
                with suppress(OSError):  # it may have ended already
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._ends = []

    def _let_in(self, listener: socket.socket) -> None:
        with suppress(OSError):  # lead(False) ends the wait
            while True:
                outside, inside = listener.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                self._ends += [outside, inside]
                for source, target in ((outside, inside), (inside, outside)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """The port of a server on loopback, for the time of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        server = ui(folder, port)
        process = subprocess.Popen(server.command, env=server.environment, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, "MLflow's server did not start"
            time.sleep(0.2)
        yield port
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
