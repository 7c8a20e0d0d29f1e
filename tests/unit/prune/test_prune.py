"""The stage: a pruned model and its report, the same plan on every rank."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from pipeline.base.files import sha256_file
from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.cost import count_macs
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.ranking import PruneGoal, make_plan
from pipeline.prune.params import Importance
from pipeline.prune.prune import prune
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    noise,
    prune_params,
    saved,
    spec_of,
    trained,
)
from tests.support.places import ROOT

RANK = """
import sys
from pathlib import Path
from typing import get_args

import torch

from pipeline.prune.params import Importance
from pipeline.prune.prune import prune
from tests.support.compress_samples import TASK, fixed_profile, prune_params

folder, data, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
torch.manual_seed(rank)
for importance in get_args(Importance):
    out = folder / f"{importance}-{rank}"
    prune(folder / "dense", data, out, prune_params(importance=importance), fixed_profile(), TASK)
torch.distributed.destroy_process_group()
"""


def test_pruning_leaves_the_model_alone(train: Split) -> None:
    spec = spec_of("resnet20")
    dense = network(spec)
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    make_plan(dense, spec, train, prune_params(importance="taylor"), TASK, PruneGoal(fixed_profile()))
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
    assert all(parameter.grad is None for parameter in dense.parameters())


def test_prune_saves_an_artifact_and_reports_both_models(data: Path, tmp_path: Path) -> None:
    spec = spec_of("resnet20")
    dense = saved(tmp_path / "dense", spec, trained(spec, data))
    report = prune(
        tmp_path / "dense",
        data,
        tmp_path / "pruned",
        prune_params(target={"macs": 0.6}),
        fixed_profile(),
        TASK,
    )
    pruned, model = load_model(tmp_path / "pruned")
    assert pruned.ancestors == {"data": "a" * 64, "dense": dense.digest}
    assert pruned.provenance == dense.provenance
    values = report.metrics()
    assert values["dense_val_score"] > 0.9
    assert values["macs"] == count_macs(model, torch.zeros(1, 3, 8, 8)) <= 0.6 * values["dense_macs"]
    assert values["macs_fraction"] == round(values["macs"] / values["dense_macs"], 6)
    assert (
        values["size_bytes"]
        == (tmp_path / "pruned" / "weights.safetensors").stat().st_size
        < values["dense_size_bytes"]
    )
    assert 0 <= values["val_score"] <= 1


@pytest.mark.parametrize(
    ("name", "not_pruned"),
    [
        (
            "timm/vit_tiny_patch16_224",
            {"patch_embed.proj and 24 others": r"'pos_embed' is a parameter .* \(1, 5, 192\)"},
        ),
        ("timm/convnext_atto", {}),
        ("timm/mobilenetv3_small_050", {}),
        ("torchvision/resnet18", {}),
    ],
)
def test_networks_of_other_libraries_prune_and_rebuild(
    name: str, not_pruned: dict[str, str], train: Split, tmp_path: Path
) -> None:
    spec = spec_of(name, width=None, size=32)
    dense = network(spec)
    plan, not_pruned_here = make_plan(dense, spec, train, prune_params(), TASK, PruneGoal(fixed_profile(8)))
    assert not_pruned_here.keys() == not_pruned.keys()
    assert all(re.match(not_pruned[modules], reason) for modules, reason in not_pruned_here.items())
    pruned = apply_plan(copy.deepcopy(dense), plan)
    assert count_macs(pruned, torch.zeros(1, 3, 32, 32)) <= 0.5 * count_macs(dense, torch.zeros(1, 3, 32, 32))
    saved(tmp_path / "pruned", spec.model_copy(update={"plan": plan}), pruned)
    _, again = load_model(tmp_path / "pruned")
    with torch.no_grad():
        assert torch.equal(again(noise(spec)), pruned(noise(spec)))


def test_two_ranks_compute_the_same_plan(data: Path, tmp_path: Path) -> None:
    """Though their sets have other orders and their random numbers other seeds."""
    spec = spec_of("resnet20")
    saved(tmp_path / "dense", spec, network(spec))
    words = [sys.executable, "-c", RANK, str(tmp_path), str(data)]
    environ = os.environ | {
        "OMP_NUM_THREADS": "1"
    }  # two pools of threads that wait for each other take minutes on busy cores
    ranks = [
        subprocess.Popen([*words, rank], cwd=ROOT, env=environ | {"PYTHONHASHSEED": rank})
        for rank in ("0", "1")
    ]
    try:
        assert [process.wait(120) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    for importance in get_args(Importance):
        one, two = (tmp_path / f"{importance}-{rank}" for rank in range(2))
        for file in ("model.json", "weights.safetensors"):
            assert sha256_file(one / file) == sha256_file(two / file), importance


def test_a_pruned_model_is_not_pruned_again(data: Path, tmp_path: Path) -> None:
    spec = spec_of("mlp")
    saved(tmp_path / "dense", spec, network(spec))
    prune(tmp_path / "dense", data, tmp_path / "pruned", prune_params(), fixed_profile(), TASK)
    assert read_spec(tmp_path / "pruned").plan
    with pytest.raises(CompressionError, match="is already pruned"):
        prune(tmp_path / "pruned", data, tmp_path / "again", prune_params(), fixed_profile(), TASK)
    assert not (tmp_path / "again").exists()
