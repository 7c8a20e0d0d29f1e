"""Pruning: the right channels go, the target is met, and the plan gives torch-pruning's own network."""

import copy
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.files import sha256_file
from pipeline.models.channels.groups import ChannelGroup, Member, to_plan, trace_groups, trace_structure
from pipeline.models.cost import count_macs, count_params, example
from pipeline.models.description.plan import KeptChannels
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.importance import element_importance, score_groups
from pipeline.prune.channels.ranking import PruneGoal, make_plan, require_equal
from pipeline.prune.channels.search import Limits, select_channels
from pipeline.prune.channels.widths import (
    LayerCost,
    Measure,
    Narrowing,
    cost_per_channel,
    layer_costs,
    macs_measure,
)
from pipeline.prune.params import Importance
from pipeline.prune.prune import prune
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    prepared_data,
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
NETWORKS = ["airbench", "resnet20", "vgg11", "mobilenetv2", "mlp"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def train(data: Path) -> Split:
    return Split.open(data, "train")


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
    shape = (3, 8, 8)
    return count_macs(apply_plan(copy.deepcopy(dense), plan), shape) / count_macs(dense, shape)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_target_is_met_and_not_missed_by_more_than_a_rounding_step(
    name: str, scope: str, train: Split
) -> None:
    spec, dense, plan = plan_of(name, train, scope=scope, round_to=2, max_ratio=0.9)
    total = count_macs(dense, (3, 8, 8))
    largest_step = max(largest_rounding_step(dense, spec, round_to=2), 1)
    assert 0.5 - largest_step / total <= fraction(dense, plan) <= 0.5


def largest_rounding_step(dense: nn.Module, spec: ModelSpec, round_to: int) -> int:
    """MACs that the dearest group frees when it alone loses `round_to` channels of the dense model."""
    groups = trace_groups(copy.deepcopy(dense), example(spec), [])
    layers = layer_costs(dense, (3, 8, 8))
    macs = macs_measure(dense, (3, 8, 8), layers)
    losses = [
        Narrowing(layers, [group], [torch.arange(group.channels)]).widths([round_to]) for group in groups
    ]
    return max(int(macs.dense - macs.of(widths)) for widths in losses)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_gives_the_same_bits_as_torch_pruning(name: str, train: Split) -> None:
    spec, dense, plan = plan_of(name, train, target={"macs": 0.6})
    theirs = copy.deepcopy(dense)
    graph = tp.DependencyGraph().build_dependency(theirs, (example(spec),), verbose=False)
    for name_, kept in plan.items():
        module = theirs.get_submodule(name_)
        if isinstance(module, nn.Conv2d | nn.Linear) and kept.out is not None:
            prune_out = (
                tp.prune_linear_out_channels if isinstance(module, nn.Linear) else tp.prune_conv_out_channels
            )
            size = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            gone = sorted(set(range(dense_outputs(dense, name_))) - set(kept.out))
            if (
                size == dense_outputs(dense, name_) and gone
            ):  # not cut yet, together with an earlier module of its group
                graph.get_pruning_group(module, prune_out, gone).prune()
    ours = apply_plan(copy.deepcopy(dense), plan)
    assert plan
    with torch.no_grad():
        assert torch.equal(ours(example(spec)), theirs(example(spec)))


def dense_outputs(dense: nn.Module, name: str) -> int:
    module = dense.get_submodule(name)
    return module.out_features if isinstance(module, nn.Linear) else module.out_channels  # type: ignore[return-value]


@pytest.mark.parametrize("importance", get_args(Importance))
def test_every_importance_prunes(importance: str, train: Split) -> None:
    _, dense, plan = plan_of("resnet20", train, importance=importance)
    assert fraction(dense, plan) <= 0.5


def test_taylor_depends_on_the_images_chosen_by_the_seed(train: Split) -> None:
    plans = [
        plan_of("resnet20", train, importance="taylor", sample_batches=1, batch_size=2, seed=seed)[2]
        for seed in (0, 1)
    ]
    assert plans[0] != plans[1]


def test_the_least_important_channels_go(train: Split) -> None:
    spec = spec_of("mlp", width=8)
    dense = network(spec)
    weak = [1, 4, 6]
    first, second = [module for module in dense.modules() if isinstance(module, nn.Linear)][:2]
    with torch.no_grad():
        first.weight[weak] *= 0.01
        second.weight[:, weak] *= 0.01
    plan = make_plan(
        dense, spec, train, prune_params(target={"macs": 0.65}), TASK, PruneGoal(fixed_profile())
    )[0]
    name = next(name for name, module in dense.named_modules() if module is first)
    assert plan[name].out == [0, 2, 3, 5, 7]


def test_the_same_fraction_of_every_layer(train: Split) -> None:
    _, dense, plan = plan_of("vgg11", train, scope="layer")
    fractions = [
        len(kept.out) / module.out_channels
        for name, kept in plan.items()
        if isinstance(module := dense.get_submodule(name), nn.Conv2d) and kept.out is not None
    ]
    assert len(fractions) == sum(isinstance(module, nn.Conv2d) for module in dense.modules())
    assert max(fractions) - min(fractions) <= 2 / 8  # one channel of the narrowest layer, taken or given back


def test_kept_channels_are_multiples_and_no_layer_loses_more_than_allowed(train: Split) -> None:
    _, dense, plan = plan_of("resnet20", train, width=16, target={"macs": 0.4}, round_to=4, max_ratio=0.5)
    for name, kept in plan.items():
        module = dense.get_submodule(name)
        if isinstance(module, nn.Conv2d) and kept.out is not None:
            assert len(kept.out) % 4 == 0
            assert len(kept.out) >= math.ceil(module.out_channels * 0.5)


def test_outputs_and_image_channels_stay(train: Split) -> None:
    _, dense, plan = plan_of("resnet20", train, target={"macs": 0.2}, max_ratio=0.95)
    stem = next(name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d))
    assert plan[stem].in_ is None
    assert plan["head"].out is None


def test_an_ignored_module_keeps_its_outputs_and_all_that_depend_on_them(train: Split) -> None:
    _, dense, plan = plan_of("resnet20", train, target={"macs": 0.7}, ignored=["stages.0.0.conv2"])
    assert apply_plan(copy.deepcopy(dense), plan).get_submodule("stages.0.0.conv2").out_channels == 8
    stem = next(name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d))
    assert stem not in plan or plan[stem].out is None  # the residual sum ties it to the ignored one


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stem_is_protected_by_that_name_in_every_network(name: str, train: Split) -> None:
    spec, dense, plan = plan_of(name, train, target={"macs": 0.96}, scope="layer", ignored=["stem"])
    first = next(name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    members = [
        member for group in trace_groups(copy.deepcopy(dense), example(spec), []) for member in group.members
    ]
    assert any(member.module == first and member.side == "out" for member in members)
    assert plan
    assert first not in plan


def test_a_target_of_all_removes_nothing(train: Split) -> None:
    assert plan_of("resnet20", train, target={"macs": 1.0})[2] == {}


def test_the_plan_survives_json(train: Split) -> None:
    spec, _, plan = plan_of("resnet20", train)
    again = ModelSpec.model_validate_json(spec.model_copy(update={"plan": plan}).model_dump_json())
    assert again.plan == plan


def test_pruning_leaves_the_model_alone(train: Split) -> None:
    spec = spec_of("resnet20")
    dense = network(spec)
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    make_plan(dense, spec, train, prune_params(importance="taylor"), TASK, PruneGoal(fixed_profile()))
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
    assert all(parameter.grad is None for parameter in dense.parameters())


def test_an_unreachable_target_says_what_can_be_reached(train: Split) -> None:
    with pytest.raises(
        CompressionError, match=r"prune.target: 0\.010 .* out of reach; .* 0\.\d+ to 1.0 can be reached"
    ):
        plan_of("resnet20", train, target={"macs": 0.01}, max_ratio=0.5)


def test_a_target_that_nothing_can_bring_nearer_says_why(train: Split) -> None:
    with pytest.raises(
        CompressionError, match=r"out of reach; with round_to 256, .* no channel may go at all; raise"
    ):
        plan_of("resnet20", train, round_to=256)
    groups, layers = [hand_made_group("a", "b", 10)], hand_made_layers(a=30, b=200)
    not_pruned = {f"layer{number}": "they can only go together" for number in range(5)}
    with pytest.raises(
        CompressionError,
        match=r"no plan can cut layer0: they can only go together; .*; and 2 more; raise the",
    ):
        select_channels(
            groups, [torch.ones(10)], layers, macs_of(layers), Limits(0.1, "global", 1, 0.5), not_pruned
        )


def test_an_unknown_ignored_module_names_the_nearest(train: Split) -> None:
    with pytest.raises(
        CompressionError, match=r"no module 'stages.0.0.conv3'; did you mean 'stages.0.0.conv\d'"
    ):
        plan_of("resnet20", train, ignored=["stages.0.0.conv3"])


def test_no_layer_with_a_score_is_an_error(train: Split) -> None:
    with pytest.raises(
        CompressionError, match="no layer of this network can be pruned by importance 'bn_scale'"
    ):
        plan_of("mlp", train, importance="bn_scale")


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


class Placed(nn.Module):
    """Two layers that must stay whole: one meets a parameter of two dimensions, one a number of channels in
    the code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 6)
        self.places = nn.Parameter(torch.zeros(24, 6))
        self.hidden = nn.Linear(6, 4)
        self.last = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embed(pixels.flatten(1, 2)) + self.places
        return self.head(self.last(self.hidden(tokens)).reshape(-1, 24, 8).mean(1))  # type: ignore[no-any-return]


def test_what_no_plan_can_cut_stays_whole_and_is_named() -> None:
    structure = trace_structure(Placed(), torch.randn(2, 3, 8, 8), [])
    assert [group.root for group in structure.groups] == ["hidden"]
    assert structure.not_pruned["embed"] == "'places' is a parameter outside any layer, of the shape (24, 6)"
    assert structure.not_pruned["last"].startswith(
        "without one of them the network does not run: module 'last': shape"
    )


class Attention(nn.Module):
    """The parts of timm's."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, head_dim, heads * head_dim
        self.qkv = nn.Linear(dim, 3 * self.attn_dim)
        self.q_norm = nn.LayerNorm(head_dim)
        self.proj = nn.Linear(self.attn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (
            self.qkv(x)
            .reshape(batch, tokens, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        seen = nn.functional.scaled_dot_product_attention(self.q_norm(q), k, v)
        return self.proj(seen.transpose(1, 2).reshape(batch, tokens, self.attn_dim))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 6)
        self.attention = Attention(6, heads=4, head_dim=5)
        self.head = nn.Linear(6, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embed(pixels.flatten(1, 2))
        return self.head((tokens + self.attention(tokens)).mean(1))  # type: ignore[no-any-return]


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


def test_heads_go_by_their_worth_and_round_as_wide_as_they_are(train: Split) -> None:
    dense = Transformer()
    with torch.no_grad():
        dense.attention.qkv.weight.view(3, 4, 5, 6)[:, 2] *= 0.01
        dense.attention.proj.weight.view(6, 4, 5)[:, 2] *= 0.01
    params = prune_params(target={"macs": 0.9}, ignored=["embed"])
    plan, not_pruned = make_plan(dense, spec_of("mlp"), train, params, TASK, PruneGoal(fixed_profile(5)))
    assert (plan["attention"].out, not_pruned) == ([0, 1, 3], {})


def test_a_network_of_which_nothing_can_go_says_why(train: Split) -> None:
    with pytest.raises(
        CompressionError,
        match=r"no layer of this network can be pruned \(embed: 'places' is .*; last: without",
    ):
        make_plan(
            Placed(),
            spec_of("mlp"),
            train,
            prune_params(ignored=["hidden"]),
            TASK,
            PruneGoal(fixed_profile()),
        )


def test_patterns_and_the_modules_around_layers_are_ignored_too(train: Split) -> None:
    spec = spec_of("vgg11")
    dense = network(spec)
    every = [group.root for group in trace_groups(dense, example(spec), [])]
    assert [group.root for group in trace_groups(dense, example(spec), ["stages.0"])] == every[1:]
    assert trace_groups(dense, example(spec), ["stages.*"]) == []


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


class Branches(nn.Module):
    """Two convolutions side by side, then a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 6, 1)
        self.join = nn.Conv2d(10, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.head = nn.Linear(12, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        joined = self.join(torch.cat([self.left(pixels), self.right(pixels)], dim=1))
        return self.head(self.grouped(joined).mean((2, 3)))  # type: ignore[no-any-return]


def test_concatenated_and_grouped_convolutions(train: Split) -> None:
    torch.manual_seed(0)
    dense = Branches().eval()
    params = prune_params(target={"macs": 0.5}, scope="layer")
    plan, _ = make_plan(dense, spec_of("mlp"), train, params, TASK, PruneGoal(fixed_profile()))
    pruned = apply_plan(copy.deepcopy(dense), plan)
    assert fraction(dense, plan) <= 0.5
    assert pruned.get_submodule("grouped").groups == 2
    kept = plan["grouped"].in_
    assert kept is not None
    assert [index for index in kept if index < 4] == [index - 4 for index in kept if index >= 4]


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


def test_search_removes_the_lowest_scores_until_the_target_is_met() -> None:
    layers = hand_made_layers(a=30, b=200, c=60)
    groups = [hand_made_group("a", "b", 10), hand_made_group("b", "c", 20)]
    scores = [torch.arange(10.0), torch.full((20,), 100.0)]
    removed = select_channels(
        groups,
        scores,
        layers,
        macs_of(layers),
        Limits(210 / 290, scope="global", round_to=1, max_ratio=0.5),
        {},
    )
    # Each channel of a costs 3 in a and 20 in b: four of them free 92, three only 69.
    assert [channels.tolist() for channels in removed] == [[0, 1, 2, 3], []]


def test_search_gives_equal_scores_in_the_order_of_channels() -> None:
    layers = hand_made_layers(a=30, b=200)
    limits = Limits(161 / 230, "global", 1, 0.9)
    removed = select_channels(
        [hand_made_group("a", "b", 10)], [torch.ones(10)], layers, macs_of(layers), limits, {}
    )
    assert removed[0].tolist() == [0, 1, 2]


def test_search_takes_the_first_that_fits_where_fewer_channels_can_cost_more() -> None:
    layers = hand_made_layers(a=30, b=200)
    times = {10: 10.0, 9: 14.0, 8: 8.0, 7: 13.0, 6: 7.0, 5: 12.0}
    slow_when_odd = Measure("latency", times[10], lambda widths: times[widths["a"][0]])

    def removed(fraction: float) -> list[int]:
        groups, limits = [hand_made_group("a", "b", 10)], Limits(fraction, "global", 1, 0.5)
        return select_channels(groups, [torch.arange(10.0)], layers, slow_when_odd, limits, {})[0].tolist()

    assert removed(0.8) == [0, 1]
    assert removed(0.7) == [0, 1, 2, 3]
    with pytest.raises(
        CompressionError, match=r"0\.600 of the dense latency is out of reach; .* 0\.700 to 1\.0"
    ):
        removed(0.6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_channel_costs_what_the_network_without_it_saves(name: str) -> None:
    spec, shape = spec_of(name), (3, 8, 8)
    dense = network(spec)
    groups, layers = trace_groups(copy.deepcopy(dense), example(spec), []), layer_costs(dense, shape)
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


@pytest.mark.parametrize("name", NETWORKS)
def test_a_target_of_parameters_is_met_by_those_of_the_network(name: str, train: Split) -> None:
    _, dense, plan = plan_of(name, train, target={"params": 0.4})
    kept = count_params(apply_plan(copy.deepcopy(dense), plan)) / count_params(dense)
    assert 0.36 < kept <= 0.4


def test_a_wrong_plan_does_not_pass_the_check(train: Split) -> None:
    spec, dense, plan = plan_of("mlp", train)
    ours, theirs = (apply_plan(copy.deepcopy(dense), plan) for _ in range(2))
    with torch.no_grad():
        next(ours.parameters())[0, 0] += 1
    with pytest.raises(CompressionError, match=r"is not cut as the dependency graph asks"):
        require_equal(ours, theirs, example(spec))


def test_a_group_whose_weights_are_all_zero_goes_first(train: Split) -> None:
    spec = spec_of("vgg11")
    dense = network(spec)
    groups, params = trace_groups(dense, example(spec), []), prune_params()
    root = dense.get_submodule(groups[0].root)
    members = [dense.get_submodule(member.module) for member in groups[0].members]
    with torch.no_grad():
        for module in (root, *members):
            module.weight.zero_()  # type: ignore[operator]
    importances = element_importance(dense, spec, train, params, TASK)
    _, scores = score_groups(dense, groups, importances, params.importance, params.seed, lambda group: 1.0)
    assert not scores[0].any()
    assert all(score.isfinite().all() for score in scores)


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
    assert values["dense_val_top1"] > 0.9
    assert values["macs"] == count_macs(model, (3, 8, 8)) <= 0.6 * values["dense_macs"]
    assert values["macs_fraction"] == round(values["macs"] / values["dense_macs"], 6)
    assert (
        values["size_bytes"]
        == (tmp_path / "pruned" / "weights.safetensors").stat().st_size
        < values["dense_size_bytes"]
    )
    assert 0 <= values["val_top1"] <= 1


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
    assert count_macs(pruned, (3, 32, 32)) <= 0.5 * count_macs(dense, (3, 32, 32))
    saved(tmp_path / "pruned", spec.model_copy(update={"plan": plan}), pruned)
    _, again = load_model(tmp_path / "pruned")
    with torch.no_grad():
        assert torch.equal(again(example(spec)), pruned(example(spec)))


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
