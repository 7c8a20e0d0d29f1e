"""Seconds from starting `python -m stages.train` to its first step, against plain PyTorch processes plus a
bare `ray.init`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import torch
import yaml

from benchmarks.training import make_data
from pipeline.export.session import device_name
from pipeline.params import read_yaml

RAY = """
import os
os.environ.update({"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_temp_dir": "%s"}
options["logging_level"] = "ERROR"
ray.init(address="local", num_cpus=%d, **options)
"""
ROWS = 2_000
STARTED = {
    "stage": "-m pipeline.launch.driver",
    "driver and Ray": "ray::TrainController",
    "controller": "RayTrainWorker",
}
"""The part of a start, and the process that it ends with."""
PARTS = [*STARTED, "workers"]


def main(arguments: argparse.Namespace) -> None:
    print(
        f"{device_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}, n = {arguments.rounds}, "
        "seconds, medians (spread)"
    )
    print("a: the train stage to its first step; b: plain processes to theirs; r: a bare ray.init")
    for workers in arguments.workers:
        parts, b, r, ratios = [], [], [], []
        for _ in range(arguments.rounds):
            parts.append(stage_start(workers))
            b.append(plain_start(workers))
            r.append(ray_start(workers))
            ratios.append(sum(parts[-1].values()) / (b[-1] + r[-1]))
        a = [sum(seconds.values()) for seconds in parts]
        shown = [f"{statistics.median(v):.1f} ({min(v):.1f}-{max(v):.1f})" for v in (a, b, r)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"{workers} workers: a {shown[0]}, b {shown[1]}, r {shown[2]}, a / (b + r) {ratio}")
        medians = {name: statistics.median(seconds[name] for seconds in parts) for name in parts[0]}
        print("  a: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in medians.items()), flush=True)


def stage_start(workers: int) -> dict[str, float]:
    """Its parts, in a project of its own; what appears first after a step is the line of progress."""
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        root = Path(name)
        for item in ("pipeline", "stages", "dvc.yaml"):
            (root / item).symlink_to(Path(item).absolute())
        (root / "data/init").mkdir(parents=True)
        (root / "data/prepared").symlink_to(make_data(root / "noise", ROWS))
        params = read_yaml(Path("presets/cifar10.yaml"))
        params["resources"] |= {"workers": workers, "threads_per_worker": 1}
        params["train"] |= {"epochs": 1, "global_batch_size": 64}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        start = time.time()
        stage = subprocess.Popen([sys.executable, "-m", "stages.train"], cwd=root, stderr=subprocess.DEVNULL)
        while not any((root / ".espalier/runs").glob("*/progress.json")):
            assert stage.poll() is None, "the stage has ended before its first step"
            time.sleep(0.01)
        times = [
            start,
            *(start + seconds for seconds in process_starts(psutil.Process(stage.pid))),
            time.time(),
        ]
        assert stage.wait() == 0
        return {name: until - since for name, (since, until) in zip(PARTS, pairwise(times), strict=True)}


def process_starts(stage: psutil.Process) -> list[float]:
    """How long after the stage the processes that make the PARTS were started, s; of the workers the first.

    Since 1970 psutil knows it to a second at most: Linux counts from the start of the machine, which it
    rounds.
    """
    begun = stage.create_time()
    descendants = [
        (" ".join(process.cmdline()), process.create_time() - begun)
        for process in stage.children(recursive=True)
    ]
    return [min(time for words, time in descendants if name in words) for name in STARTED.values()]


def plain_start(workers: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        mark = Path(name) / "mark"
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.plain_start", str(workers), str(mark)])
        while not mark.exists():
            assert process.poll() is None, "the processes have ended before their first step"
            time.sleep(0.01)
        seconds = time.monotonic() - start
        assert process.wait() == 0
        return seconds


def ray_start(workers: int) -> float:
    with tempfile.TemporaryDirectory(prefix="r-") as name:
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", RAY % (f"{name}/r", workers)], check=True, stderr=subprocess.DEVNULL
        )
        return time.monotonic() - start
