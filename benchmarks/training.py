"""Images/s of the pipeline's training against two loops written by hand (loops.py), all in the same
processes.

The pipeline and the plain loop take turns step by step: what slows the machine for a second slows both.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from benchmarks.loops import PlainLoop, peak_flops, typical_speed
from benchmarks.ranks import on_ranks
from benchmarks.records import Benchmark, Case, Figure
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.models.cost import count_macs
from pipeline.models.description.params import ModelParams
from pipeline.models.nets.build import example, rebuild
from pipeline.tasks.description.params import TaskParams
from pipeline.train import loop
from pipeline.train.job import Inputs, Job, Site, dense_job
from pipeline.train.optim import set_lr
from pipeline.train.params import FitParams

WIDTHS = {"resnet20": 16, "resnet18": 64}
RUN_S = 15
"""Seconds that a run of the pipeline takes at least. It begins with a checkpoint; a training has one in 30 s.
"""
RUN_STEPS = 5
"""That a run has at least, however slow the machine is."""
WARM_ROWS = 1_200
"""Images of the round before those that count, which warms caches and kernels up and tells how many make up a
run."""
TYPICAL_STEPS = 4
FIRST_STEPS = 1
"""Of a run, which are not counted: DDP builds its buckets in them."""
TRAIN_SHARE = 0.8
"""Of the prepared images in the training split, at least."""
MACS_OF_A_STEP = 3
"""Of a training step in those of a forward pass: forward, and backward to weights and to inputs."""


FIGURES = {"images/s": 0, "a/b": 3, "a/c": 1, "e/a": 2, "of peak": 2}
"""What a round measures, with the digits that are shown."""


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each number of workers, network and batch; a worker has its share of the CPUs as threads."""
    with tempfile.TemporaryDirectory() as name:
        few = make_data(Path(name) / "few", WARM_ROWS)
        for workers, model, batch in product(
            arguments.workers, arguments.models or WIDTHS, arguments.batches
        ):
            told = Path(name) / f"{workers}-{model}-{batch}.json"
            on_ranks(workers, measure_rounds, few, model, batch, arguments.rounds, told)
            rounds = json.loads(told.read_bytes())
            values = zip(*rounds, strict=True)
            yield {"network": model, "batch": batch, "workers": workers} | {
                figure: Figure(found, digits)
                for (figure, digits), found in zip(FIGURES.items(), values, strict=True)
            }


BENCHMARK = Benchmark(measure, ("network", "batch", "workers", *FIGURES), ("torch",))


def make_data(folder: Path, rows: int, size: int = 32) -> Path:
    """Prepared noise of ten classes, `size` pixels high and wide."""
    generator = np.random.default_rng(0)
    images = [row.tobytes() for row in generator.integers(0, 256, (rows, size * size * 3), dtype=np.uint8)]
    folder.mkdir()
    pq.write_table(
        pa.table({"image": images, "label": generator.integers(0, 10, rows)}), folder / "noise.parquet"
    )
    values = read_yaml(Path("presets/cifar10.yaml"))["data"]
    source = values["source"] | {"raw_shape": [size, size, 3]}
    params = DataParams.model_validate({**values, "source": source, "height": size, "width": size})
    prepare(params, folder / "noise.parquet", folder / "prepared", folder / "card")
    return folder / "prepared"


def measure_rounds(few: Path, model: str, batch: int, rounds: int, told: Path) -> None:
    """Run on every rank; rank 0 writes the FIGURES of each round to `told`.

    few: the images of the round that is not counted.
    """
    world = dist.get_world_size()
    threads = max(1, (os.cpu_count() or 1) // world)
    torch.set_num_threads(threads)
    warm = make_job(few, model, batch)
    images_per_s, *_ = one_round(warm, PlainLoop(warm, batch), threads, "warm")
    data = warm.site.run_dir / f"{model}-{world}-{batch}"
    if dist.get_rank() == 0:
        make_data(data, math.ceil(max(RUN_S * images_per_s, RUN_STEPS * batch) / TRAIN_SHARE))
    dist.barrier()
    job = warm.model_copy(update={"inputs": Inputs(data=data / "prepared")})
    plain = PlainLoop(job, batch)
    counted = [one_round(job, plain, threads, str(number)) for number in range(rounds)]
    if dist.get_rank() == 0:
        told.write_text(json.dumps(counted))


def one_round(
    job: Job, plain: PlainLoop, threads: int, name: str
) -> tuple[float, float, float, float, float]:
    """Images/s of the pipeline, its ratios to both loops, exact_elastic's to the pipeline, and the fraction
    of the peak.
    """
    batch = job.problem.params.global_batch_size
    flops = 2 * MACS_OF_A_STEP * count_macs(rebuild(job.problem.spec), example(job.problem.spec, 1))
    ours, to_plain = in_turns(job, plain, threads, f"{batch}-{name}")
    _, elastic_to_plain = in_turns(_exact(job), plain, threads, f"{batch}-{name}-exact")
    typical = typical_speed(job, batch, TYPICAL_STEPS)
    peak = torch.tensor(peak_flops())
    dist.all_reduce(peak)
    return ours, to_plain, ours / typical, elastic_to_plain / to_plain, ours * flops / float(peak)


def _exact(job: Job) -> Job:
    params = job.problem.params.model_copy(update={"exact_elastic": True})
    return job.model_copy(update={"problem": job.problem.model_copy(update={"params": params})})


def in_turns(job: Job, plain: PlainLoop, threads: int, name: str) -> tuple[float, float]:
    """Images/s of the steps of `fit`, and its ratio to the plain loop's.

    All that `fit` does between two steps counts, a checkpoint too; opening and validation do not.
    """
    run_dir = job.site.run_dir / f"run-{job.problem.spec.architecture.name}-{dist.get_world_size()}-{name}"
    marks: list[tuple[float, float]] = []

    def plain_first(*arguments: Any) -> None:
        """In the place of set_lr, which `fit` calls once, at the start of a step."""
        start = time.perf_counter()
        plain.step()
        marks.append((start, time.perf_counter()))
        set_lr(*arguments)

    with patch.object(loop, "set_lr", plain_first):
        loop.fit(job.model_copy(update={"site": job.site.at(run_dir)}), "cpu", threads)
    turns = marks[FIRST_STEPS:]
    ours = sum(after[0] - before[1] for before, after in pairwise(turns))
    plains = sum(end - start for start, end in turns[:-1])
    return plain.images_per_step * (len(turns) - 1) / ours, plains / ours


def make_job(data: Path, model: str, batch: int) -> Job:
    """One epoch of the preset `cifar10`."""
    preset = read_yaml(Path("presets/cifar10.yaml"))
    network = ModelParams(name=model, width=WIDTHS[model], dropout=0.0, stochastic_depth=0.0, init="random")
    changes = {"epochs": 1, "global_batch_size": batch, "ema_decay": None}
    params = FitParams.model_validate({**preset["train"], **changes})
    # half of checkpoint_s are the plain loop's turns: one checkpoint in 30 s, as in params.yaml
    site = Site(run_dir=data.parent, journal=data.parent / "journal.jsonl", checkpoint_s=60.0)
    return dense_job(network, params, TaskParams.model_validate(preset["task"]), data, None, site)
