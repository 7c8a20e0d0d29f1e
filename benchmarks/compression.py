"""What half of the multiply-accumulates is worth: each network pruned to 50 % of them, rebuilt, exported and
timed.

The networks are untrained: which channels go changes with training, how many and what they cost does not.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from benchmarks.rebuilt import digests_elsewhere, logits_digest
from benchmarks.records import Benchmark, Case, Figure
from benchmarks.training import make_data
from pipeline.base.yaml_file import read_yaml
from pipeline.compare.latency import measure_latency
from pipeline.data.prepared.reader import Split
from pipeline.evaluate.params import LatencyParams
from pipeline.export.onnx import export_onnx
from pipeline.export.outputs import onnx_outputs, torch_outputs
from pipeline.export.session import OnnxModel
from pipeline.models.description.params import ModelParams
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import TRACED, build, example
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.batch_norm import renew_statistics
from pipeline.prune.params import PruneParams
from pipeline.prune.profile_report import Profile
from pipeline.prune.prune import prune
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.tasks.training.task import make_task
from pipeline.train.job import dense_spec

BUILT_IN = {
    "airbench": 64,
    "mlp": 512,
    "mobilenetv2": 32,
    "resnet18": 64,
    "resnet20": 16,
    "resnet32": 16,
    "resnet44": 16,
    "resnet56": 16,
    "resnet110": 16,
    "vgg11": 64,
    "vgg16": 64,
}
"""Widths as in the papers; at 32 px."""
ADAPTED = (
    "timm/resnet18",
    "timm/mobilenetv3_small_100",
    "timm/mobilenetv3_large_100",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    "torchvision/resnet50",
    "torchvision/vit_b_32",
)
"""At 64 px."""
SIZES = {True: 64, False: 32}
ROWS = 240
TARGET, ROUND_TO = 0.5, 8
LATENCY = LatencyParams(batches=[1, 64], warmup=5, repeats=100, threads=1)


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each network; ends with an error if one answers with other bits in a process of its own."""
    torch.set_num_threads(LATENCY.threads)
    with tempfile.TemporaryDirectory() as name:
        folders = {size: make_data(Path(name) / str(size), ROWS, size) for size in SIZES.values()}
        other = []
        for model in arguments.models or (*BUILT_IN, *ADAPTED):
            place = Path(name) / "models" / model
            case = compressed(model, folders[SIZES["/" in model]], place, arguments.rounds)
            other += [model] if case["same bits"] == "false" else []
            yield case
    if other:
        sys.exit(f"other bits in a fresh process: {', '.join(other)}")


BENCHMARK = Benchmark(
    measure,
    ("network", "MACs", "params", "same bits", "diff", *(f"faster at {size}" for size in LATENCY.batches)),
    ("torch", "onnxruntime"),
)


def compressed(name: str, data: Path, folder: Path, rounds: int) -> Case:
    """What half of the MACs are worth for a network."""
    network = ModelParams(
        name=name, width=BUILT_IN.get(name), dropout=0.0, stochastic_depth=0.0, init="random"
    )
    torch.manual_seed(0)
    sections = read_yaml(Path("params.yaml"))
    task_params = TaskParams.model_validate(sections["task"])
    spec = dense_spec(network, task_params, data)
    dense = awake(build(spec.architecture), example(spec, TRACED, seed=0)).eval()
    saved = save_model(folder / "dense", spec, dense)
    params = PruneParams.model_validate(
        {**sections["prune"], "target": {"macs": TARGET}, "round_to": ROUND_TO, "ignored": []}
    )
    profile = Profile(round_to=ROUND_TO, roundings=[], chosen=None)
    task = make_task(task_params, notes_of(spec.task))
    values = prune(folder / "dense", data, folder / "pruned", params, profile, task).metrics()
    pruned_spec, again = load_model(folder / "pruned")
    files = {"dense": folder / "dense.onnx", "pruned": folder / "pruned.onnx"}
    export_onnx(saved, dense, files["dense"])
    export_onnx(pruned_spec, again, files["pruned"])
    cut = apply_plan(dense, pruned_spec.plan)
    renew_statistics(cut, spec, Split.open(data, "train"), params)
    here = logits_digest(cut, spec)
    diff = largest_difference(folder / "pruned", files["pruned"], data)
    times = [measure_latency(files, LATENCY)["pruned"].batches for _ in range(rounds)]
    same = digests_elsewhere([folder / "pruned"], LATENCY.threads) == [here]
    return {
        "network": name,
        "MACs": Figure([values["macs_fraction"]]),
        "params": Figure([values["params_fraction"]]),
        "same bits": str(same).lower(),
        "diff": f"{diff:.1e}",
        **{
            f"faster at {size}": Figure([time[size].speedup["dense"].ratio for time in times], 2)
            for size in LATENCY.batches
        },
    }


def awake(model: nn.Module, images_BCHW: torch.Tensor) -> nn.Module:
    """The model with logits that differ: untrained, some are zero (the head of torchvision's ViT) or vanish
    (MobileNet).
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            module.reset_parameters()
    update_bn([images_BCHW], model)
    return model


def largest_difference(folder: Path, file: Path, data: Path) -> float:
    """Of a logit on the validation images, between the rebuilt network and its ONNX file, over the largest
    logit.
    """
    spec, model = load_model(folder)
    val = Split.open(data, "val")
    rows = torch.arange(len(val))
    session = OnnxModel(file, LATENCY.threads)
    (expected,) = torch_outputs(model, spec, val, rows, len(val)).values()
    (found,) = onnx_outputs(session, val, rows, len(val)).values()
    return float(abs(expected - found).max() / abs(expected).max())
