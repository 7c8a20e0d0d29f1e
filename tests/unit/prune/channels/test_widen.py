"""A network that was cut goes back to the dense shape and computes the same, and its channels are worth the
same.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.ranking import PreviousCut, PruneGoal, make_plan, rank_channels
from pipeline.prune.channels.search import REMOVED_SCORE
from pipeline.prune.channels.widen import widen
from tests.support.compress_samples import (
    SIZE,
    TASK,
    fixed_profile,
    network,
    prepared_data,
    prune_params,
    spec_of,
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(prepared_data(tmp_path_factory.mktemp("data")), "train")


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "vgg11", "mlp"])
def test_it_computes_the_same_and_cuts_to_the_same(name: str, split: Split) -> None:
    spec = spec_of(name, 16)
    dense = network(spec)
    plan, _ = make_plan(dense, spec, split, prune_params(), TASK, PruneGoal(fixed_profile()))
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


class Normed(nn.Module):
    """A layer norm over channels that can go, as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(SIZE, 8)
        self.norm = nn.LayerNorm(8)
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.hidden(self.norm(self.embed(pixels.flatten(1, 2))))
        return self.head(nn.functional.gelu(tokens).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("importance", ["taylor", "hessian"])
def test_gradients_are_those_of_the_network_that_was_trained(importance: str, split: Split) -> None:
    torch.manual_seed(0)
    dense, spec, params = Normed().eval(), spec_of("mlp"), prune_params(importance=importance)
    plan, _ = make_plan(dense, spec, split, params, TASK, PruneGoal(fixed_profile()))
    assert "norm" in plan
    narrow = apply_plan(copy.deepcopy(dense), plan)
    wide = widen(dense, plan, narrow)

    def scores(model: nn.Module, earlier: PreviousCut | None = None) -> Tensor:
        """Of the channels that are left, as shares of their group."""
        found = [
            score[score != REMOVED_SCORE]
            for score in rank_channels(model, spec, split, params, TASK, earlier).scores
        ]
        return torch.cat([score / score.sum() for score in found])

    assert torch.allclose(scores(wide, PreviousCut(plan, narrow)), scores(narrow), rtol=1e-5)
    found = rank_channels(wide, spec, split, params, TASK)
    kept = torch.cat([score[score != 0.0] / score.sum() for score in found.scores])
    assert not torch.allclose(kept, scores(narrow), rtol=0.01)  # the norm of the widened network counts zeros
