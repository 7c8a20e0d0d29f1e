"""A network that was cut goes back to the dense shape without a change of what it computes."""

import copy

import pytest
import torch

from pipeline.compress.channels import Aim, make_plan
from pipeline.data.prepared.reader import Split
from pipeline.models.nets.cut import apply_plan
from pipeline.models.widen import widen
from tests.unit.compress_samples import SIZE, TASK, fixed_profile, network, prepared_data, prune_params, spec_of


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(prepared_data(tmp_path_factory.mktemp("data")), "train")


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "vgg11", "mlp"])
def test_it_computes_the_same_and_cuts_to_the_same(name: str, split: Split) -> None:
    spec = spec_of(name, 16)
    dense = network(spec)
    plan, _ = make_plan(dense, spec, split, prune_params(), TASK, Aim(fixed_profile()))
    assert plan
    narrow = apply_plan(copy.deepcopy(dense), plan)
    for parameter in narrow.parameters():
        parameter.data.mul_(1.5)  # as if it had been trained
    wide = widen(dense, plan, narrow)
    images = torch.rand(4, 3, SIZE, SIZE)
    assert torch.allclose(wide(images), narrow(images), atol=1e-5)
    assert {key: value.shape for key, value in wide.state_dict().items()} == {
        key: value.shape for key, value in dense.state_dict().items()
    }
    again = apply_plan(wide, plan).state_dict()
    for key, value in narrow.state_dict().items():
        assert torch.equal(again[key], value), key
