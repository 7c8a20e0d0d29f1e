"""Images/s of the pipeline's training, in turns with two loops written by hand (loops.py), all in the same processes."""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from benchmarks.loops import peak_flops, plain_speed, typical_speed
from benchmarks.ranks import on_ranks
from pipeline.compress.cost import count_macs, input_shape
from pipeline.data.params import DataParams
from pipeline.data.prepare import prepare
from pipeline.evaluate.latency import device_name
from pipeline.models.build import rebuild
from pipeline.models.params import ModelParams
from pipeline.params import read_yaml
from pipeline.report import read_journal
from pipeline.tasks.params import TaskParams
from pipeline.train.job import Job, dense_spec
from pipeline.train.loop import fit
from pipeline.train.params import FitParams

WIDTHS = {"resnet20": 16, "resnet18": 64}
ROWS = {"resnet20": 12_000, "resnet18": 3_000}
"""Of noise; seconds for each measurement."""
TYPICAL_STEPS = 4
MACS_OF_A_STEP = 3
"""Of a training step in those of a forward pass: forward, and backward to weights and to inputs."""


def main(arguments: argparse.Namespace) -> None:
    """Print one row per model, batch and number of workers; each worker has its share of the CPUs as threads."""
    print(
        f"{device_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}, 32x32x3, n = {arguments.rounds}, medians (spread)"
    )
    print("a: pipeline, bf16; b: plain loop, bf16; c: typical loop, fp32; e: pipeline with exact_elastic, bf16")
    print("peak: of bf16 3x3 convolutions on these threads")
    print(f"{'model':<9} {'batch':>5} {'workers':>7}   a images/s   a/b{'':<18} a/c{'':<14} e/a{'':<14} a of peak")
    with tempfile.TemporaryDirectory() as name:
        data = {model: make_data(Path(name) / model, ROWS[model]) for model in arguments.models}
        for workers in arguments.workers:
            on_ranks(workers, measure, data, arguments.batches, arguments.rounds)


def make_data(folder: Path, rows: int) -> Path:
    generator = np.random.default_rng(0)
    images = [row.tobytes() for row in generator.integers(0, 256, (rows, 32 * 32 * 3), dtype=np.uint8)]
    folder.mkdir()
    pq.write_table(pa.table({"image": images, "label": generator.integers(0, 10, rows)}), folder / "noise.parquet")
    params = DataParams.model_validate({**read_yaml(Path("presets/cifar10.yaml"))["data"], "raw_shape": [32, 32, 3]})
    prepare(params, folder / "noise.parquet", folder / "prepared", folder / "card")
    return folder / "prepared"


def measure(data: dict[str, Path], batches: list[int], rounds: int) -> None:
    """On every rank; rank 0 prints."""
    threads = max(1, (os.cpu_count() or 1) // dist.get_world_size())
    torch.set_num_threads(threads)
    for model, folder in data.items():
        for batch in batches:
            measure_row(make_job(folder, model, batch), batch, rounds, threads)


def measure_row(job: Job, batch: int, rounds: int, threads: int) -> None:
    a, b, c, e, fractions = [], [], [], [], []
    exact = job.model_copy(update={"params": job.params.model_copy(update={"exact_elastic": True})})
    flops = 2 * MACS_OF_A_STEP * count_macs(rebuild(job.spec), input_shape(job.spec))
    for number in range(rounds + 1):
        ours = pipeline_speed(job, threads, f"{batch}-{number}")
        plain, typical = plain_speed(job, batch), typical_speed(job, batch, TYPICAL_STEPS)
        elastic = pipeline_speed(exact, threads, f"{batch}-{number}-exact")
        peak = torch.tensor(peak_flops())
        dist.all_reduce(peak)
        if number:  # the first round warms caches and kernels up
            a.append(ours)
            b.append(ours / plain)
            c.append(ours / typical)
            e.append(elastic / ours)
            fractions.append(ours * flops / float(peak))
    if dist.get_rank() == 0:
        name, world = job.spec.architecture.name, dist.get_world_size()
        shown = [_spread(b, 3), _spread(c, 1), _spread(e, 2), _spread(fractions, 2)]
        print(f"{name:<9} {batch:>5} {world:>7}   {statistics.median(a):>10,.0f}   {'  '.join(shown)}", flush=True)


def make_job(data: Path, model: str, batch: int) -> Job:
    """One epoch of the preset `cifar10`."""
    preset = read_yaml(Path("presets/cifar10.yaml"))
    return Job(
        spec=dense_spec(ModelParams(name=model, width=WIDTHS[model], dropout=0.0, stochastic_depth=0.0, init="random"), data),
        initial=None,
        init=None,
        teacher=None,
        params=FitParams.model_validate({**preset["train"], "epochs": 1, "global_batch_size": batch, "ema_decay": None}),
        task=TaskParams.model_validate(preset["task"]),
        data=data,
        run_dir=data.parent,
        journal=data.parent / "journal.jsonl",
        checkpoint_s=30.0,
    )


def pipeline_speed(job: Job, threads: int, name: str) -> float:
    """Images/s of the steps of `fit`, as it reports them itself: checkpoints count, opening and validation do not."""
    world = dist.get_world_size()
    run_dir = job.run_dir / f"run-{job.spec.architecture.name}-{world}-{name}"
    fresh = job.model_copy(update={"run_dir": run_dir, "journal": run_dir / "journal.jsonl"})
    fit(fresh, "cpu", threads)
    return next(
        float(event["values"]["images_per_s"]) for event in read_journal(fresh.journal) if "images_per_s" in event["values"]
    )


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
