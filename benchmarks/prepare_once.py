"""One intake in a process of its own, which imports what the stage does: `benchmarks.intake` starts it."""

import shutil
import sys
import time
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.decoding.piece import Order
from pipeline.data.intake.ingest import ingest
from pipeline.data.intake.opening import open_source
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.data.intake.validate import RowCheck


def main(what: str, folder: Path, processes: int) -> None:
    """Prepare the source in a folder by its params.yaml, into `out` in it; "decode": decode it alone."""
    params = parse_section("data", read_yaml(folder / "params.yaml"), DataParams)
    source, work, out = folder / "source.parquet", folder / "work", folder / "out"
    if what == "prepare":
        prepare(params, source, out / "prepared", out / "card", work, processes)
        return
    with open_source(params, source) as opened:
        classes = opened.classes_of(params.targets)
        check = RowCheck(params.rule, params.store, params.limits, opened.raw_shape, params.targets, classes)
        ingest(opened, Order(check, [], opened.classes, split=params.split), work, processes, params.limits)
    shutil.rmtree(work)


if __name__ == "__main__":
    began = time.perf_counter()
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    print(time.perf_counter() - began)
