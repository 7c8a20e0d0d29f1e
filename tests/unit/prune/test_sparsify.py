"""Weights go one by one, as torch's own pruning chooses them, or two of every four."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import prune as reference

from pipeline.base.files import sha256_tree
from pipeline.base.yaml_file import read_yaml
from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.channels.groups import prunable_weights
from pipeline.models.disk.weights import load_model
from pipeline.prune.params import PruneParams
from pipeline.prune.prune import Part, prune
from pipeline.prune.sparsify import drop_least, drop_share, drop_two_of_four, kept_share, sparsify
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    prepared_data,
    prune_params,
    saved,
    spec_of,
)
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def model() -> nn.Module:
    return network(spec_of("resnet20", 4))


def magnitudes(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    weights = prunable_weights(model, [])
    return weights, {name: weight.detach().abs() for name, weight in weights.items()}


def test_over_all_layers_the_same_go_as_by_torch(model: nn.Module) -> None:
    theirs = copy.deepcopy(model)
    weights, scores = magnitudes(model)
    drop_least(weights, scores, 0.7)
    layers = [(theirs.get_submodule(name), "weight") for name in weights]
    reference.global_unstructured(layers, pruning_method=reference.L1Unstructured, amount=0.7)
    for name, weight in weights.items():
        assert torch.equal(
            weight, theirs.get_parameter(f"{name}.weight_orig") * theirs.get_buffer(f"{name}.weight_mask")
        ), name


def test_of_each_layer_the_same_go_as_by_torch(model: nn.Module) -> None:
    theirs = copy.deepcopy(model)
    weights, scores = magnitudes(model)
    drop_share(weights, scores, 0.7)
    for name, weight in weights.items():
        reference.L1Unstructured.apply(theirs.get_submodule(name), "weight", 0.7)  # type: ignore[no-untyped-call]
        assert torch.equal(weight == 0, theirs.get_buffer(f"{name}.weight_mask") == 0), name


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("preset", ["digits", "cifar10"])
def test_the_example_in_the_readme_goes_with_every_other_key_as_it_is(
    data: Path, preset: str, scope: str
) -> None:
    sections = read_yaml(ROOT / "presets" / f"{preset}.yaml")
    params = PruneParams.model_validate(sections["prune"] | {"target": {"weights": 0.2}, "scope": scope})
    spec = spec_of(sections["model"]["name"], sections["model"]["width"])
    model = network(spec)
    sparsify(model, spec, Split.open(data, "train"), params, TASK, share=1.0)
    assert kept_share(model, []) == pytest.approx(0.2, abs=1e-5)


def test_two_of_every_four_inputs_stay(model: nn.Module) -> None:
    weights, scores = magnitudes(model)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    pruned = drop_two_of_four(weights, scores)
    assert "stem.conv" not in pruned  # three channels
    assert torch.equal(weights["stem.conv"], before["stem.conv"])
    for name in pruned:
        kept, old = (
            values.movedim(1, -1).reshape(-1, 4) for values in (weights[name].detach(), before[name])
        )
        assert (kept.count_nonzero(dim=1) == 2).all()
        assert (kept.abs().sum(dim=1) == old.abs().sort(dim=1).values[:, 2:].sum(dim=1)).all()


def test_without_inputs_in_fours_the_pattern_is_refused() -> None:
    layer = nn.Sequential(nn.Linear(6, 3))
    with pytest.raises(CompressionError, match="no layer has inputs in fours"):
        drop_two_of_four(*magnitudes(layer))


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(CompressionError, match="no convolution and no linear layer"):
        prunable_weights(nn.Sequential(nn.ReLU()), [])


@pytest.mark.parametrize(
    ("target", "importance"),
    [
        ({"weights": 0.25}, "l1"),
        ({"weights": 0.25}, "lamp"),
        ({"weights": 0.25}, "taylor"),
        ({"weights": 0.25}, "random"),
        ({"weights": 0.5, "pattern": "2_of_4"}, "l2"),
    ],
)
def test_an_artifact_loses_weights_to_a_target(
    data: Path, tmp_path: Path, target: dict[str, Any], importance: str
) -> None:
    spec = spec_of("resnet20", 16)
    saved(tmp_path / "dense", spec, network(spec))
    params = prune_params(target=target, importance=importance, ignored=["stem"])
    report = prune(tmp_path / "dense", data, tmp_path / "pruned", params, fixed_profile(), TASK)
    assert report.notes["weights_fraction"] == pytest.approx(target["weights"], abs=1e-3)
    assert report.pruned.macs == report.dense.macs  # zeros are multiplied like any other number
    assert report.record()["note"].startswith(
        "faster on tensor cores" if "pattern" in target else "zeros make nothing faster"
    )
    assert report.pruned.size_bytes < (target["weights"] + 0.08) * report.dense.size_bytes
    pruned_spec, pruned = load_model(tmp_path / "pruned")
    assert "stem.conv.weight" not in pruned_spec.sparse
    assert pruned.get_parameter("stem.conv.weight").all()
    again = prune(tmp_path / "dense", data, tmp_path / "again", params, fixed_profile(), TASK)
    assert again == report
    assert sha256_tree(tmp_path / "again") == sha256_tree(tmp_path / "pruned")


@pytest.mark.parametrize("importance", ["l1", "random"])
def test_a_later_part_takes_more_and_gives_nothing_back(data: Path, tmp_path: Path, importance: str) -> None:
    spec = spec_of("resnet20", 8)
    saved(tmp_path / "dense", spec, network(spec))
    params = prune_params(target={"weights": 0.2}, importance=importance)
    first = prune(tmp_path / "dense", data, tmp_path / "first", params, fixed_profile(), TASK, Part(0.5))
    assert first.notes["weights_fraction"] == pytest.approx(0.6, abs=1e-3)
    second = prune(
        tmp_path / "dense",
        data,
        tmp_path / "second",
        params,
        fixed_profile(),
        TASK,
        Part(1.0, tmp_path / "first"),
    )
    assert second.notes["weights_fraction"] == pytest.approx(0.2, abs=1e-3)
    before, after = (load_model(tmp_path / name)[1].state_dict() for name in ("first", "second"))
    for name in load_model(tmp_path / "second")[0].sparse:
        assert not after[name][before[name] == 0].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"importance": "bn_scale"},
            "importance bn_scale judges channels, but the target is weights; take another",
        ),
        (
            {"target": {"weights": 0.5, "pattern": "2_of_4"}, "schedule": {"parts": 2, "epochs": 1}},
            "a pattern is there at once or not at all; set schedule to null",
        ),
    ],
)
def test_what_does_not_go_with_single_weights_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        prune_params(**{"target": {"weights": 0.5}, **changes})
