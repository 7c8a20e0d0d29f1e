"""Images/s on 1, 2 and 4 hosts, against plain DDP over the same links and against one host; all on this
machine, as root.

A host is a network namespace with one thread, joined to the others by virtual cables
(tests/support/hosts/network.py), whose rate may be limited. The pipeline and the plain loop take turns
step by step in the same processes; hosts take turns within a round.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.training import WARM_ROWS, WIDTHS, make_data
from pipeline.export.session import device_name
from pipeline.train.worker_settings import WORKER_SETTINGS
from tests.support.hosts.network import Network

ROOT = Path(__file__).parents[1]
ROWS = {"resnet20": 9_600, "resnet18": 1_600}
"""A worker: some fifteen seconds of the pipeline, for any number of workers."""
IMAGES_OF_A_WORKER = 64
"""Of a batch: the same share for any number, so that twice the workers are twice the work (weak scaling)."""
TIMEOUT_S = 900.0


def main(arguments: argparse.Namespace) -> None:
    link = f"{arguments.mbit:,} Mbit/s" if arguments.mbit else "not limited"
    machine = f"{device_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    print(f"{machine}, cables {link}, n = {arguments.rounds}, medians (spread)")
    print(
        "a: pipeline, bf16; b: plain DDP; efficiency: a of a worker against a of one alone; reduce: of all "
        "gradients"
    )
    print(f"{'model':<9} {'workers':>7}   a images/s   a/b{'':<18} efficiency{'':<9} reduce ms")
    with tempfile.TemporaryDirectory() as name:
        few = make_data(Path(name) / "few", WARM_ROWS)
        for model in arguments.models or WIDTHS:
            data = {
                workers: make_data(Path(name) / f"{model}-{workers}", ROWS[model] * workers)
                for workers in arguments.workers
            }
            rows: dict[int, list[dict[str, float]]] = {workers: [] for workers in arguments.workers}
            for _ in range(arguments.rounds):
                for workers in arguments.workers:
                    rows[workers].append(measure(data[workers], few, model, workers, arguments.mbit))
            for workers, found in rows.items():
                _print_row(model, workers, found, rows.get(1, []))


def measure(data: Path, few: Path, model: str, workers: int, mbit: int | None) -> dict[str, float]:
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


def _print_row(model: str, workers: int, rows: list[dict[str, float]], alone: list[dict[str, float]]) -> None:
    speeds, ratios = [row["images_per_s"] for row in rows], [row["to_plain"] for row in rows]
    efficiencies = [
        row["images_per_s"] / workers / one["images_per_s"]
        for row, one in zip(rows, alone, strict=bool(alone))
    ]
    shown = [_spread(ratios), _spread(efficiencies) if efficiencies else "-"]
    reduce_ms = 1000 * statistics.median(row["reduce_s"] for row in rows)
    print(
        f"{model:<9} {workers:>7}   {statistics.median(speeds):>10,.0f}   {'  '.join(shown)}  "
        f"{reduce_ms:.1f}",
        flush=True,
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
