"""Pruning to a target of latency, by the table of the stage `profile`: what was predicted, and what the pruned file then takes.

The importance is that of random weights: how long a network takes depends on its widths alone.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import onnxruntime

from benchmarks.training import WIDTHS, make_data
from pipeline.compress.channels import Aim, make_plan
from pipeline.compress.cost import count_macs, input_shape
from pipeline.compress.params import PruneParams
from pipeline.compress.profile import make_profile
from pipeline.compress.session import device_name
from pipeline.compress.timing import fractions, open_device
from pipeline.compress.widths import layers_of, widths_of
from pipeline.data.prepared.reader import Split
from pipeline.models.nets.build import rebuild
from pipeline.models.nets.cut import apply_plan
from pipeline.models.params import ModelParams
from pipeline.params import read_yaml
from pipeline.tasks.params import TaskParams
from pipeline.tasks.task import make_task
from pipeline.train.job import dense_spec

TARGET = 0.5
BATCHES = (1, 64)
ROUNDS = 15
ROWS = 256


def main(arguments: argparse.Namespace) -> None:
    print(
        f"{device_name()}, {os.cpu_count()} CPUs, onnxruntime {onnxruntime.__version__}, 32x32x3, "
        f"latency target {TARGET} of dense, {arguments.threads} threads; each repeat in turns with dense, median of {ROUNDS}"
    )
    preset = read_yaml(Path("presets/cifar10.yaml"))
    with tempfile.TemporaryDirectory(prefix="e-") as name:
        data = make_data(Path(name) / "noise", ROWS)
        for model in arguments.models or WIDTHS:
            for batch in BATCHES:
                print(row(model, batch, data, preset, arguments), flush=True)


def row(model: str, batch: int, data: Path, preset: dict[str, dict[str, object]], arguments: argparse.Namespace) -> str:
    spec = dense_spec(ModelParams(name=model, width=WIDTHS[model], dropout=0.0, stochastic_depth=0.0, init="random"), data)
    target = {"latency": TARGET, "device": "cpu", "batch": batch, "threads": arguments.threads}
    params = PruneParams.model_validate(preset["prune"] | {"target": target, "round_to": "auto", "max_ratio": 0.9})
    start = time.monotonic()
    profile = make_profile(spec, params)
    seconds = time.monotonic() - start
    dense = rebuild(spec).eval()
    task = make_task(TaskParams.model_validate(preset["task"]))
    plan, _ = make_plan(dense, spec, Split.open(data, "train"), params, task, Aim(profile))
    pruned = apply_plan(rebuild(spec).eval(), plan)
    table, device = profile.latency, open_device(params.target)
    assert table is not None, "a target of latency has a table"
    runs = [device.network(spec, network) for network in (dense, pruned)]
    measured = [fractions(device, runs, ROUNDS)[1] for _ in range(arguments.rounds)]
    shape_CHW = input_shape(spec)
    macs = count_macs(pruned, shape_CHW) / count_macs(dense, shape_CHW)
    predicted = table.fraction(widths_of(layers_of(pruned, shape_CHW)))
    return (
        f"{model} batch {batch}: round_to {profile.round_to}, MACs {macs:.3f}, predicted {predicted:.3f} "
        f"(error {table.error:.3f}), measured {', '.join(f'{fraction:.3f}' for fraction in measured)}; "
        f"profile took {seconds:.0f} s"
    )
