"""Equal files under four names, timed as `compare` times variants: how often one counts as slower than
another. None should.

Best run beside other work, which is what makes equal files differ.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks.training import make_data
from pipeline.compare.latency import measure_latency
from pipeline.compare.records import VARIANTS, Speedup
from pipeline.evaluate.params import LatencyParams
from pipeline.export.onnx import export_onnx
from pipeline.export.session import device_name
from pipeline.models.cost import input_shape
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import ONNX_NAME
from pipeline.models.nets.build import rebuild
from pipeline.profile.timing import UNSAVED
from pipeline.train.job import dense_spec

MODELS = {"resnet20": 16}
"""With their widths."""
LIMIT = 1.0
"""Of `register.min_parent_speedup` in the presets."""
ROWS = 64
LATENCY = LatencyParams(batches=[1, 8], warmup=100, repeats=500, threads=1)


def main(arguments: argparse.Namespace) -> None:
    print(f"{device_name()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, 32x32x3, {LATENCY}")
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = make_data(Path(name) / "noise", ROWS)
        for model in arguments.models or MODELS:
            found = repeated(model, data, Path(name), arguments.rounds)
            for size in LATENCY.batches:
                print(
                    f"{model} batch {size}: {row([each for batch, each in found if batch == size])}",
                    flush=True,
                )


def repeated(model: str, data: Path, folder: Path, rounds: int) -> list[tuple[int, Speedup]]:
    """Each speed-up that was found, with its batch size."""
    spec = dense_spec(
        ModelParams(
            name=model, width=MODELS.get(model, 16), dropout=0.0, stochastic_depth=0.0, init="random"
        ),
        data,
    )
    first = folder / f"{model}-{ONNX_NAME}"
    export_onnx(spec.model_copy(update={"weights": UNSAVED}), rebuild(spec).eval(), first)
    files = {name: Path(shutil.copy(first, folder / f"{name}-{ONNX_NAME}")) for name in VARIANTS}
    found = []
    for _ in range(rounds):
        measured = measure_latency(files, input_shape(spec), LATENCY)
        found += [
            (size, speedup)
            for name, latency in measured.items()
            for size, timing in latency.batches.items()
            for other, speedup in timing.speedup.items()
            if other != name
        ]
    return found


def row(found: list[Speedup]) -> str:
    ratios = sorted(each.ratio for each in found)
    widths = statistics.median(each.high - each.low for each in found)
    without = sum(not each.low <= 1 <= each.high for each in found)
    slower = sum(each.at_most < LIMIT for each in found)
    return (
        f"{len(found)} ratios from {ratios[0]:.3f} to {ratios[-1]:.3f}, intervals {widths:.3f} wide "
        "(median), "
        f"{without} without 1, {slower} slower"
    )
