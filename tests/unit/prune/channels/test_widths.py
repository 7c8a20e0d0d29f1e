"""What a channel costs, by the widths around it."""

import copy

import pytest
import torch

from pipeline.models.channels.groups import ChannelGroup, Member, to_plan, trace_groups
from pipeline.models.cost import count_macs
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.widths import (
    LayerCost,
    Narrowing,
    cost_per_channel,
    layer_costs,
    macs_measure,
)
from tests.support.compress_samples import (
    network,
    noise,
    spec_of,
)
from tests.support.pruning_samples import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_a_channel_costs_what_the_network_without_it_saves(name: str) -> None:
    spec, shape = spec_of(name), torch.zeros(1, 3, 8, 8)
    dense = network(spec)
    groups, layers = trace_groups(copy.deepcopy(dense), noise(spec), []), layer_costs(dense, shape)
    cost, first, none = (
        macs_measure(dense, shape, layers),
        torch.tensor([0]),
        torch.tensor([], dtype=torch.int64),
    )
    for group in groups:
        plan = to_plan(dense, groups, [first if other is group else none for other in groups])
        saved_macs = count_macs(dense, shape) - count_macs(apply_plan(copy.deepcopy(dense), plan), shape)
        assert cost_per_channel(group, layers, cost) == saved_macs > 0


def test_depthwise_macs_follow_their_channels_once() -> None:
    every = torch.arange(8)
    group = ChannelGroup("d", 8, 1, (Member("d", "out", every, every), Member("d", "in", every, every)), None)
    layer = LayerCost(80, 72, 8, 8, 8, one_sided=True)
    assert Narrowing({"d": layer}, [group], [every]).widths([2]) == {"d": (6, 6)}
    assert layer.scaled(layer.macs, 6, 6) == 60
