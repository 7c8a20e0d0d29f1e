"""The stages' own entry points, one after the other in one folder, with settings that the end-to-end tests
leave at their defaults. Ray is left out: what it would start is called. So is a target of latency, whose
many exports take 20 s.
"""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from torch import nn

from pipeline.base.stage import Stage
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.schema import check_values
from pipeline.tracking.journal import NullReporter
from pipeline.train.loop import fit
from tests.support.project import merged

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "model": {"name": "vgg11", "width": 8},
    "train": {"epochs": 1, "amp": "off"},
    "finetune": {"epochs": 1, "amp": "off"},
    "prune": {"sample_batches": 1},
    "quantize": {"calibration_images": 40, "max_drop": 1.0},
    "evaluate": {
        "parity_images": 20,
        "worst_images": 4,
        "latency": {"batches": [1], "warmup": 1, "repeats": 20},
    },
}
LINE = ("train", "profile", "prune", "finetune", "evaluate@finetuned", "quantize")


def run(root: Path, *names: str) -> None:
    def train(job: Any, *_: object) -> None:
        fit(job, "cpu", 1)

    for name in names:
        module = importlib.import_module(f"stages.{name.partition('@')[0]}")
        instead = {"launch": train} if hasattr(module, "launch") else {}
        module.main(Stage(name, root), NullReporter(), **instead)


def change(root: Path, changes: dict[str, Any]) -> None:
    values = merged(yaml.safe_load((ROOT / "presets/digits.yaml").read_text()), merged(TINY, changes))
    check_values(values, "params.yaml")
    (root / "params.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("settings")
    for name in ("pipeline", "stages", "data/raw", "data/init", "data/teacher"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "cifar*"))
    shutil.copy(ROOT / "dvc.yaml", root / "dvc.yaml")
    change(root, {})
    run(root, "prepare")
    return root


def loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_sparsely_trained_network_is_cut_in_parts_learns_int8_and_is_exported(prepared: Path) -> None:
    change(
        prepared,
        {
            "train": {"sparsity": {"penalty": "bn_l1", "weight": 0.001}},
            "prune": {
                "target": {"macs": None, "params": 0.5},
                "importance": "bn_scale",
                "schedule": {"parts": 2, "epochs": 1},
            },
            "finetune": {"quantization_aware": {"start": 0.5, "reduce_range": True}},
            "evaluate": {"exports": ["fp16", "pt2"]},
        },
    )
    run(prepared, *LINE)
    plan = read_spec(prepared / "artifacts/pruned").plan
    assert plan == read_spec(prepared / "artifacts/finetuned").plan
    assert plan
    exported = {path.name for path in (prepared / "exported/finetuned").iterdir()}
    assert {"model.onnx", "model.fp16.onnx", "model.pt2"} <= exported
    operators = {node.op_type for node in onnx.load(prepared / "artifacts/quantized/model.onnx").graph.node}
    assert "QuantizeLinear" in operators


def test_single_weights_go_two_of_four(prepared: Path) -> None:
    change(prepared, {"prune": {"target": {"macs": None, "weights": 0.5, "pattern": "2_of_4"}}})
    run(prepared, "train", "profile", "prune", "finetune")
    _, model = load_model(prepared / "artifacts/finetuned")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    zeros = [float((module.weight == 0).float().mean()) for module in convolutions]
    assert max(zeros) == 0.5


def test_a_student_learns_from_dense(prepared: Path) -> None:
    student = {"name": "mlp", "width": 16, "dropout": 0.0, "stochastic_depth": 0.0}
    change(prepared, {"prune": {"student": student}, "quantize": {"mode": "dynamic"}})
    run(prepared, *LINE)
    assert read_spec(prepared / "artifacts/finetuned").architecture.name == "mlp"
    assert loaded(prepared / "reports/quantize.json")["val_score"] > 0
