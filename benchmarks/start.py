"""Seconds from starting `python -m stages.train` to its first step, against plain PyTorch processes plus a
bare `ray.init`.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import yaml

from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import make_data
from pipeline.base.yaml_file import read_yaml

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


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each number of workers."""
    for workers in arguments.workers:
        parts, plains, rays = [], [], []
        for _ in range(arguments.rounds):
            parts.append(stage_start(workers))
            plains.append(plain_start(workers))
            rays.append(ray_start(workers))
        stages = [sum(seconds.values()) for seconds in parts]
        ratios = [a / (b + r) for a, b, r in zip(stages, plains, rays, strict=True)]
        medians = {name: statistics.median(seconds[name] for seconds in parts) for name in PARTS}
        yield {
            "workers": workers,
            "a s": Figure(stages, 1),
            "b s": Figure(plains, 1),
            "r s": Figure(rays, 1),
            "a / (b + r)": Figure(ratios, 2),
            "parts of a, s": ", ".join(f"{name} {seconds:.1f}" for name, seconds in medians.items()),
        }


BENCHMARK = Benchmark(
    measure, ("workers", "a s", "b s", "r s", "a / (b + r)", "parts of a, s"), ("torch", "ray")
)


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
