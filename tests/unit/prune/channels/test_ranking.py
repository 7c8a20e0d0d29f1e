"""The plan: the right channels go, the target is met, and it gives torch-pruning's own network."""

import copy
import math
from typing import get_args

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.channels.groups import trace_groups
from pipeline.models.cost import count_macs, count_params
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.channels.importance import element_importance, score_groups
from pipeline.prune.channels.ranking import PruneGoal, make_plan, require_equal
from pipeline.prune.channels.search import Limits, select_channels
from pipeline.prune.channels.widths import (
    Narrowing,
    layer_costs,
    macs_measure,
)
from pipeline.prune.params import Importance
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    noise,
    prune_params,
    spec_of,
)
from tests.support.hand_made_nets import Placed, Transformer
from tests.support.pruning_samples import (
    NETWORKS,
    fraction,
    hand_made_group,
    hand_made_layers,
    macs_of,
    plan_of,
)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_target_is_met_and_not_missed_by_more_than_a_rounding_step(
    name: str, scope: str, train: Split
) -> None:
    spec, dense, plan = plan_of(name, train, scope=scope, round_to=2, max_ratio=0.9)
    total = count_macs(dense, torch.zeros(1, 3, 8, 8))
    largest_step = max(largest_rounding_step(dense, spec, round_to=2), 1)
    assert 0.5 - largest_step / total <= fraction(dense, plan) <= 0.5


def largest_rounding_step(dense: nn.Module, spec: ModelSpec, round_to: int) -> int:
    """MACs that the dearest group frees when it alone loses `round_to` channels of the dense model."""
    groups = trace_groups(copy.deepcopy(dense), noise(spec), [])
    layers = layer_costs(dense, torch.zeros(1, 3, 8, 8))
    macs = macs_measure(dense, torch.zeros(1, 3, 8, 8), layers)
    losses = [
        Narrowing(layers, [group], [torch.arange(group.channels)]).widths([round_to]) for group in groups
    ]
    return max(int(macs.dense - macs.of(widths)) for widths in losses)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_gives_the_same_bits_as_torch_pruning(name: str, train: Split) -> None:
    spec, dense, plan = plan_of(name, train, target={"macs": 0.6})
    theirs = copy.deepcopy(dense)
    graph = tp.DependencyGraph().build_dependency(theirs, (noise(spec),), verbose=False)
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
        assert torch.equal(ours(noise(spec)), theirs(noise(spec)))


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
        member for group in trace_groups(copy.deepcopy(dense), noise(spec), []) for member in group.members
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
        match=r"no plan can cut layer0: they can only go together; .* and 2 more; raise the",
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
        require_equal(ours, theirs, noise(spec))


def test_a_group_whose_weights_are_all_zero_goes_first(train: Split) -> None:
    spec = spec_of("vgg11")
    dense = network(spec)
    groups, params = trace_groups(dense, noise(spec), []), prune_params()
    root = dense.get_submodule(groups[0].root)
    members = [dense.get_submodule(member.module) for member in groups[0].members]
    with torch.no_grad():
        for module in (root, *members):
            module.weight.zero_()  # type: ignore[operator]
    importances = element_importance(dense, spec, train, params, TASK)
    _, scores = score_groups(dense, groups, importances, params.importance, params.seed, lambda group: 1.0)
    assert not scores[0].any()
    assert all(score.isfinite().all() for score in scores)
