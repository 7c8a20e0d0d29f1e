"""Equal files under four names, timed as `compare` times variants: how often one counts as slower than
another. None should.

Best run beside other work, which is what makes equal files differ.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import make_data
from pipeline.base.yaml_file import read_yaml
from pipeline.compare.latency import measure_latency
from pipeline.compare.records import VARIANTS, Speedup
from pipeline.evaluate.params import LatencyParams
from pipeline.export.onnx import export_onnx
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import ONNX_NAME
from pipeline.models.nets.build import rebuild
from pipeline.profile.timing import UNSAVED
from pipeline.tasks.description.params import TaskParams
from pipeline.train.job import dense_spec

MODELS = {"resnet20": 16}
"""With their widths."""
LIMIT = 1.0
"""Of `register.min_parent_speedup` in the presets."""
ROWS = 64
LATENCY = LatencyParams(batches=[1, 8], warmup=100, repeats=500, threads=1)


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each network and batch size."""
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = make_data(Path(name) / "noise", ROWS)
        for model in arguments.models or MODELS:
            load = f"{os.getloadavg()[0]:.1f}"
            found = repeated(model, data, Path(name), arguments.rounds)
            for size in LATENCY.batches:
                ratios = [each for batch, each in found if batch == size]
                yield {"network": model, "batch": size, "load": load, **_figures(ratios)}


BENCHMARK = Benchmark(
    measure,
    ("network", "batch", "load", "ratio", "width of intervals", "intervals without 1", "slower"),
    ("onnxruntime",),
)


def repeated(model: str, data: Path, folder: Path, rounds: int) -> list[tuple[int, Speedup]]:
    """Each speed-up that was found, with its batch size."""
    spec = dense_spec(
        ModelParams(
            name=model, width=MODELS.get(model, 16), dropout=0.0, stochastic_depth=0.0, init="random"
        ),
        TaskParams.model_validate(read_yaml(Path("params.yaml"))["task"]),
        data,
    )
    first = folder / f"{model}-{ONNX_NAME}"
    export_onnx(spec.model_copy(update={"weights": UNSAVED}), rebuild(spec).eval(), first)
    files = {name: Path(shutil.copy(first, folder / f"{name}-{ONNX_NAME}")) for name in VARIANTS}
    found = []
    for _ in range(rounds):
        measured = measure_latency(files, LATENCY)
        found += [
            (size, speedup)
            for name, latency in measured.items()
            for size, timing in latency.batches.items()
            for other, speedup in timing.speedup.items()
            if other != name
        ]
    return found


def _figures(found: list[Speedup]) -> dict[str, Figure | int]:
    return {
        "ratio": Figure([each.ratio for each in found]),
        "width of intervals": Figure([each.high - each.low for each in found]),
        "intervals without 1": sum(not each.low <= 1 <= each.high for each in found),
        "slower": sum(each.at_most < LIMIT for each in found),
    }
