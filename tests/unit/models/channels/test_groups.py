"""Channels that go together, as they are traced."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import CompressionError
from pipeline.models.channels.groups import to_plan, trace_groups, trace_structure
from pipeline.models.nets.cut import apply_plan
from tests.support.compress_samples import (
    network,
    noise,
    spec_of,
)
from tests.support.hand_made_nets import Placed, Transformer


class Gated(nn.Module):
    """A parameter outside any layer follows the channels of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.inner = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.inner(self.conv(pixels) * self.gain).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_parameter_of_one_dimension_is_cut_with_the_channels_beside_it() -> None:
    dense, pixels = Gated(), torch.randn(2, 3, 8, 8)
    groups = trace_groups(dense, pixels, [])
    assert [group.root for group in groups] == ["conv", "inner"]
    plan = to_plan(dense, groups, [torch.tensor([0, 5]), torch.tensor([], dtype=torch.int64)])
    assert plan["gain"].out == [1, 2, 3, 4, 6, 7]
    assert apply_plan(copy.deepcopy(dense), plan).get_parameter("gain").shape == (1, 6, 1, 1)


def test_what_no_plan_can_cut_stays_whole_and_is_named() -> None:
    structure = trace_structure(Placed(), torch.randn(2, 3, 8, 8), [])
    assert [group.root for group in structure.groups] == ["hidden"]
    assert structure.not_pruned["embed"] == "'places' is a parameter outside any layer, of the shape (24, 6)"
    assert structure.not_pruned["last"].startswith(
        "without one of them the network does not run: module 'last': shape"
    )


def test_a_cut_head_is_a_head_that_is_not_seen() -> None:
    torch.manual_seed(0)
    dense, pixels = Transformer(), torch.randn(2, 3, 8, 8)
    groups = trace_groups(dense, pixels, ["embed"])
    assert [(group.root, group.channels, group.width) for group in groups] == [("attention.qkv", 4, 5)]
    cut = apply_plan(copy.deepcopy(dense), to_plan(dense, groups, [torch.tensor([1, 2])]))
    assert cut.get_submodule("attention.qkv").out_features == 3 * 2 * 5
    with torch.no_grad():
        dense.attention.proj.weight[:, 5:15] = 0
        assert torch.allclose(cut(pixels), dense(pixels), atol=1e-6)


def test_patterns_and_the_modules_around_layers_are_ignored_too() -> None:
    spec = spec_of("vgg11")
    dense = network(spec)
    every = [group.root for group in trace_groups(dense, noise(spec), [])]
    assert [group.root for group in trace_groups(dense, noise(spec), ["stages.0"])] == every[1:]
    assert trace_groups(dense, noise(spec), ["stages.*"]) == []


def test_a_network_without_layers_that_have_channels_is_refused() -> None:
    with pytest.raises(CompressionError, match=r"no convolution \(Conv2d\) and no linear layer"):
        trace_groups(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), torch.randn(2, 3, 8, 8), [])


def test_a_network_that_cannot_be_traced_is_named() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3)
            self.second = nn.Conv2d(4, 8, 3)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.second(self.first(pixels))  # type: ignore[no-any-return]

    with pytest.raises(
        CompressionError,
        match=r"cannot be traced for pruning \(RuntimeError in module 'second': Given groups",
    ):
        trace_groups(Broken(), torch.randn(2, 3, 8, 8), [])
