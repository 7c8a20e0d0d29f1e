"""`python -m benchmarks <table>`: ratios, measured side by side in one run."""

import argparse
import os

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from benchmarks import compression, drift, equal_files, latency_target, outage, scaling, start, training
from pipeline.train.worker_settings import WORKER_SETTINGS

TABLES = {
    "training": training.main,
    "start": start.main,
    "drift": drift.main,
    "outage": outage.main,
    "scaling": scaling.main,
    "latency_target": latency_target.main,
    "compression": compression.main,
    "equal_files": equal_files.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--rounds", type=int, default=3, help="repeats of every measurement, in turns")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", help="of every table that has several, instead of all")
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512], help="of the table `training`")
    parser.add_argument("--threads", type=int, default=1, help="of the table `latency_target`")
    parser.add_argument("--mbit", type=int, help="of each cable of the table `scaling`, Mbit/s")
    arguments = parser.parse_args()
    os.environ.update(
        WORKER_SETTINGS
    )  # the loops by hand get the memory settings that the pipeline gives its workers
    TABLES[arguments.table](arguments)


if __name__ == "__main__":
    main()
