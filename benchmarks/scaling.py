"""Images/s on 1, 2 and 4 hosts, against plain DDP over the same links and against one host; all on this
machine, as root.

A host is a network namespace with one thread, joined to the others by virtual cables
(tests/support/hosts/network.py), whose rate may be limited. The pipeline and the plain loop take turns
step by step in the same processes; hosts take turns within a round.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import WARM_ROWS, WIDTHS, make_data
from pipeline.train.worker_settings import WORKER_SETTINGS
from tests.support.hosts.network import Network

ROOT = Path(__file__).parents[1]
ROWS = {"resnet20": 9_600, "resnet18": 1_600}
"""A worker: some fifteen seconds of the pipeline, for any number of workers."""
IMAGES_OF_A_WORKER = 64
"""Of a batch: the same share for any number, so that twice the workers are twice the work (weak scaling)."""
TIMEOUT_S = 900.0


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each network and number of workers."""
    with tempfile.TemporaryDirectory() as name:
        few = make_data(Path(name) / "few", WARM_ROWS)
        for model in arguments.models or WIDTHS:
            data = {
                workers: make_data(Path(name) / f"{model}-{workers}", ROWS[model] * workers)
                for workers in arguments.workers
            }
            rounds: dict[int, list[dict[str, float]]] = {workers: [] for workers in arguments.workers}
            for _ in range(arguments.rounds):
                for workers in arguments.workers:
                    rounds[workers].append(on_hosts(data[workers], few, model, workers, arguments.mbit))
            link = f"{arguments.mbit:,} Mbit/s" if arguments.mbit else "not limited"
            for workers, found in rounds.items():
                yield {
                    "network": model,
                    "cables": link,
                    "workers": workers,
                    **_figures(workers, found, rounds.get(1, [])),
                }


BENCHMARK = Benchmark(
    measure,
    ("network", "cables", "workers", "images/s", "a/b", "efficiency", "all-reduce ms"),
    ("torch",),
    needs_root=True,
)


def on_hosts(data: Path, few: Path, model: str, workers: int, mbit: int | None) -> dict[str, float]:
    """On as many hosts, what rank 0 tells (scaling_rank.py)."""
    with tempfile.TemporaryDirectory() as logs, Network(Path(logs)) as network:
        hosts = [network.add_host(f"host-{rank}", visible=[ROOT, data, few]) for rank in range(workers)]
        words = [sys.executable, "-m", "benchmarks.scaling_rank"]
        told: dict[str, Any] = {
            "world": workers,
            "address": hosts[0].ip,
            "data": str(data),
            "few": str(few),
            "model": model,
            "batch": IMAGES_OF_A_WORKER * workers,
        }
        for host in hosts:
            if mbit:
                rate = ["rate", f"{mbit}mbit", "burst", "256kb", "latency", "50ms"]
                host.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *rate])
        processes = [
            host.start([*words, json.dumps({**told, "rank": rank})], WORKER_SETTINGS, cwd=str(ROOT))
            for rank, host in enumerate(hosts)
        ]
        for process in processes:
            assert process.wait(TIMEOUT_S) == 0, process.tail()
        told_back = next(line for line in processes[0].log.read_text().splitlines() if line.startswith("{"))
        row: dict[str, float] = json.loads(told_back)
        return row


def _figures(
    workers: int, rounds: list[dict[str, float]], alone: list[dict[str, float]]
) -> dict[str, Figure | str]:
    """Figures of a network on some hosts; alone: the rounds on one host, empty if that was not asked for."""
    efficiencies = [
        found["images_per_s"] / workers / one["images_per_s"]
        for found, one in zip(rounds, alone, strict=bool(alone))
    ]
    return {
        "images/s": Figure([found["images_per_s"] for found in rounds], 0),
        "a/b": Figure([found["to_plain"] for found in rounds]),
        "efficiency": Figure(efficiencies) if efficiencies else "-",
        "all-reduce ms": Figure([1000 * found["reduce_s"] for found in rounds], 1),
    }
