"""`python -m benchmarks NAME`: ratios, measured side by side in one run; what they mean: docs/results/."""

import argparse
import os
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from benchmarks import (
    compression,
    drift,
    equal_files,
    intake,
    latency_target,
    loading,
    outage,
    scaling,
    start,
    training,
)
from benchmarks.records import RESULTS, Benchmark, Run, append_cases, table_end, told
from pipeline.train.worker_settings import WORKER_SETTINGS

BENCHMARKS = {
    "training": training.BENCHMARK,
    "loading": loading.BENCHMARK,
    "intake": intake.BENCHMARK,
    "start": start.BENCHMARK,
    "drift": drift.BENCHMARK,
    "outage": outage.BENCHMARK,
    "scaling": scaling.BENCHMARK,
    "latency_target": latency_target.BENCHMARK,
    "compression": compression.BENCHMARK,
    "equal_files": equal_files.BENCHMARK,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--record", action="store_true", help=f"add the figures to {RESULTS}/NAME.md")
    parser.add_argument("--rounds", type=int, default=3, help="repeats of every measurement, in turns")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", help="of every benchmark that has several, instead of all")
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512], help="of `training`")
    parser.add_argument("--threads", type=int, default=1, help="of `latency_target`")
    parser.add_argument("--mbit", type=int, help="of each cable of `scaling`, Mbit/s")
    arguments = parser.parse_args()
    # the loops by hand get the memory settings that the pipeline gives its workers
    os.environ.update(WORKER_SETTINGS)
    page = RESULTS / f"{arguments.name}.md"
    perform(BENCHMARKS[arguments.name], page, arguments)


def perform(benchmark: Benchmark, page: Path, arguments: argparse.Namespace) -> None:
    """Print each case once it is measured, and record all of them at the end of a run that succeeded."""
    run = Run.now(benchmark.packages, Path.cwd())
    if arguments.record:
        table_end(page, benchmark.columns)  # before hours of measuring
    print(f"{run.machine}, {run.versions}, commit {run.commit}; medians (spread), explained in {page}")
    cases = []
    for case in benchmark.measure(arguments):
        print(told(case), flush=True)
        cases.append(case)
    if arguments.record:
        append_cases(page, benchmark.columns, run, cases)


if __name__ == "__main__":
    main()
