"""Plans for a network, and groups and layers made by hand."""

import copy

import torch
from torch import nn

from pipeline.data.prepared.reader import Split
from pipeline.models.channels.groups import ChannelGroup, Member
from pipeline.models.cost import count_macs
from pipeline.models.description.plan import KeptChannels
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.ranking import PruneGoal, make_plan
from pipeline.prune.channels.widths import (
    LayerCost,
    Measure,
)
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    prune_params,
    spec_of,
)

NETWORKS = ["airbench", "resnet20", "vgg11", "mobilenetv2", "mlp"]


def plan_of(
    name: str, train: Split, width: int = 8, **changes: object
) -> tuple[ModelSpec, nn.Module, dict[str, KeptChannels]]:
    spec = spec_of(name, width)
    dense = network(spec)
    params = prune_params(**changes)
    assert isinstance(params.round_to, int)
    return (
        spec,
        dense,
        make_plan(dense, spec, train, params, TASK, PruneGoal(fixed_profile(params.round_to)))[0],
    )


def fraction(dense: nn.Module, plan: dict[str, KeptChannels]) -> float:
    shape = torch.zeros(1, 3, 8, 8)
    return count_macs(apply_plan(copy.deepcopy(dense), plan), shape) / count_macs(dense, shape)


def hand_made_group(root: str, then: str, channels: int) -> ChannelGroup:
    every = torch.arange(channels)
    return ChannelGroup(
        root, channels, 1, (Member(root, "out", every, every), Member(then, "in", every, every)), None
    )


def hand_made_layers(**macs: int) -> dict[str, LayerCost]:
    sides = {"a": (10, 3), "b": (20, 10), "c": (3, 20)}
    return {name: LayerCost(number, 0, 0, *sides[name], one_sided=False) for name, number in macs.items()}


def macs_of(layers: dict[str, LayerCost]) -> Measure:
    total = sum(layer.macs for layer in layers.values())
    return Measure(
        "MACs",
        total,
        lambda widths: sum(layers[name].scaled(layers[name].macs, *widths[name]) for name in layers),
    )
