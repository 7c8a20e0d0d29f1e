"""Pruning to a target of latency, by the stages `profile` and `prune`: what `profile` measured, and what
`compare` then does.

The dense network has random weights: which widths are left depends on them, how long a network of these takes
does not.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import WIDTHS, make_data
from pipeline.base.yaml_file import read_yaml
from pipeline.compare.latency import measure_latency
from pipeline.evaluate.params import LatencyParams
from pipeline.export.onnx import export_onnx
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import ONNX_NAME
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import rebuild
from pipeline.profile.profile import make_profile
from pipeline.prune.params import PruneParams
from pipeline.prune.prune import prune
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.tasks.training.task import make_task
from pipeline.train.job import dense_spec

TARGET = 0.5
BATCHES = (1, 64)
ROWS = 256
WARMUP, REPEATS = 10, 500


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each network and batch size."""
    preset = read_yaml(Path("presets/cifar10.yaml"))
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = make_data(Path(name) / "noise", ROWS)
        for model in arguments.models or WIDTHS:
            dense = Path(name) / model
            spec = dense_spec(
                ModelParams(
                    name=model, width=WIDTHS[model], dropout=0.0, stochastic_depth=0.0, init="random"
                ),
                TaskParams.model_validate(preset["task"]),
                data,
            )
            save_model(dense, spec, rebuild(spec))
            for batch in BATCHES:
                labels = {"network": model, "batch": batch, "threads": arguments.threads}
                yield {**labels, **figures(dense, data, batch, preset, arguments)}


BENCHMARK = Benchmark(
    measure,
    ("network", "batch", "threads", "round_to", "MACs", "chosen at", "then", "profile s"),
    ("torch", "onnxruntime"),
)


def figures(
    dense: Path, data: Path, batch: int, preset: dict[str, dict[str, object]], arguments: argparse.Namespace
) -> dict[str, Figure | int]:
    """Figures of the network that the stages make for TARGET, as fractions of the dense one."""
    target = {"latency": TARGET, "device": "cpu", "batch": batch, "threads": arguments.threads}
    params = PruneParams.model_validate(
        preset["prune"] | {"target": target, "round_to": "auto", "max_ratio": 0.9}
    )
    task = TaskParams.model_validate(preset["task"])
    start = time.monotonic()
    profile = make_profile(dense, data, params, task)
    seconds = time.monotonic() - start
    pruned = dense.with_name(f"{dense.name}-{batch}")
    values = prune(
        dense, data, pruned, params, profile, make_task(task, notes_of(read_spec(dense).task))
    ).metrics()
    folders = {"dense": dense, "pruned": pruned}
    measured = [timed(folders, batch, arguments.threads) for _ in range(arguments.rounds)]
    return {
        "round_to": profile.round_to,
        "MACs": Figure([values["macs_fraction"]]),
        "chosen at": Figure([values["latency_fraction"]]),
        "then": Figure(measured),
        "profile s": Figure([seconds], 0),
    }


def timed(folders: dict[str, Path], batch: int, threads: int) -> float:
    """What the pruned network's file takes of the dense one's time, both exported anew."""
    files = {name: folder / ONNX_NAME for name, folder in folders.items()}
    for name, folder in folders.items():
        spec, model = load_model(folder)
        export_onnx(spec, model, files[name])
    params = LatencyParams(batches=[batch], warmup=WARMUP, repeats=REPEATS, threads=threads)
    found = measure_latency(files, params)["pruned"].batches[batch]
    return 1.0 / found.speedup["dense"].ratio
