"""How far the number of workers moves the loss: the preset `digits` trained by one process and by several,
seed by seed.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ranks import on_ranks
from benchmarks.records import Benchmark, Case, Figure
from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.models.description.params import ModelParams
from pipeline.tasks.description.params import TaskParams
from pipeline.train.job import Job, Site, dense_job
from pipeline.train.loop import fit
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import HISTORY_NAME, result_folder

COMPARED = ("train/loss", "val/loss", "val/top1")
PRESET = Path("presets/digits.yaml")


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each seed and number of workers; the first number is what the others are held against."""
    values = read_yaml(PRESET)
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = Path(name) / "prepared"
        prepare(parse_section("data", values["data"], DataParams), Path(name), data, Path(name) / "card")
        for seed in range(arguments.rounds):
            first: dict[str, float] = {}
            for workers in arguments.workers:
                job = _job(values, data, Path(name) / f"{seed}-{workers}", seed)
                on_ranks(workers, _train, job, forked=True)
                found = _last_epoch(job)
                first = first or found
                moved = {f"{key} moved": Figure([found[key] - first[key]], 5) for key in COMPARED}
                yield {
                    "seed": seed,
                    "workers": workers,
                    **{key: Figure([value], 5) for key, value in found.items()},
                    **moved,
                }


BENCHMARK = Benchmark(
    measure, ("seed", "workers", *COMPARED, *(f"{key} moved" for key in COMPARED)), ("torch",)
)


def _job(values: dict[str, dict[str, object]], data: Path, run_dir: Path, seed: int) -> Job:
    return dense_job(
        parse_section("model", values["model"], ModelParams),
        parse_section("train", values["train"] | {"seed": seed}, FitParams),
        parse_section("task", values["task"], TaskParams),
        data,
        None,
        Site(run_dir=run_dir, journal=run_dir / "journal.jsonl", checkpoint_s=30.0),
    )


def _train(job: Job) -> None:
    fit(job, "cpu", 1)


def _last_epoch(job: Job) -> dict[str, float]:
    with (result_folder(job) / HISTORY_NAME).open() as file:
        last = list(csv.DictReader(file))[-1]
    return {key: float(last[key]) for key in COMPARED}
