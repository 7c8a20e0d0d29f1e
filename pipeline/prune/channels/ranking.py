"""Structured pruning: whole channels go until a target is met, and the plan of what stays is data.

The plan is computed twice, by index tables here and by torch-pruning on a copy that is thrown away;
both must give the same network, bit for bit.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, CompressionError
from pipeline.models.channels.groups import ChannelGroup, to_plan, trace_structure
from pipeline.models.description.plan import KeptChannels, Plan
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.build import TRACED, example
from pipeline.models.nets.cut import apply_plan
from pipeline.models.nets.probe import ModuleTracker
from pipeline.prune.channels.importance import element_importance, score_groups
from pipeline.prune.channels.search import (
    REMOVED_SCORE,
    Limits,
    fraction_of_counts,
    lowest_scoring,
    reasons,
    select_channels,
)
from pipeline.prune.channels.widen import widen_tensors
from pipeline.prune.channels.widths import LayerCost, Measure, cost_per_channel, counted_measure, layer_costs
from pipeline.prune.params import ShapeParams
from pipeline.prune.profile_report import Profile
from pipeline.tasks.training.task import Task


@dataclass(frozen=True)
class PreviousCut:
    """What an earlier cut by `plan` left, as training has changed it.

    What `plan` does not keep stays away.
    """

    plan: Plan
    model: nn.Module


@dataclass(frozen=True)
class PruneGoal:
    """share: of the way to the target. earlier: the cut that the network was widened from."""

    profile: Profile
    share: float = 1.0
    earlier: PreviousCut | None = None


@dataclass(frozen=True)
class Ranking:
    """What of a network can go, and in which order.

    scores: one per channel of each group, low goes first. cost: what can be counted of the target.
    not_pruned: why which others cannot go. traced: the copy of the network that the groups were found in.
    """

    groups: list[ChannelGroup]
    scores: list[Tensor]
    layers: dict[str, LayerCost]
    cost: Measure
    not_pruned: dict[str, str]
    traced: nn.Module


def rank_channels(
    dense: nn.Module,
    spec: ModelSpec,
    train: Split,
    params: ShapeParams,
    task: Task,
    earlier: PreviousCut | None = None,
) -> Ranking:
    """What each channel of a network is worth; the models stay as they are.

    train: where taylor and hessian take their gradients. earlier: as in PruneGoal; weights have their worth
    in its network, since a layer norm of the widened one counts zeros too. Raises CompressionError if the
    network cannot be traced, or nothing of it can go.
    """
    scratch = copy.deepcopy(dense).eval().requires_grad_(True)
    structure = trace_structure(scratch, example(spec, TRACED, seed=0), params.ignored)
    if not structure.groups:
        raise CompressionError(_nothing_to_prune(structure.not_pruned))
    importances = _element_importances(scratch, spec, train, params, task, earlier)
    layers = layer_costs(dense, example(spec, 1))
    cost = counted_measure(params.target.kind, dense, example(spec, 1), layers)

    def cost_of(group: ChannelGroup) -> float:
        return cost_per_channel(group, layers, cost)

    groups, scores = score_groups(
        scratch, structure.groups, importances, params.importance, params.seed, cost_of
    )
    gone = earlier.plan if earlier else {}
    scores = [
        score.index_fill(0, channels_gone(group, gone), REMOVED_SCORE)
        for group, score in zip(groups, scores, strict=True)
    ]
    return Ranking(groups, scores, layers, cost, structure.not_pruned, scratch)


def _element_importances(
    scratch: nn.Module,
    spec: ModelSpec,
    train: Split,
    params: ShapeParams,
    task: Task,
    earlier: PreviousCut | None,
) -> dict[str, Tensor]:
    if earlier is None:
        return element_importance(scratch, spec, train, params, task)
    narrow = element_importance(
        copy.deepcopy(earlier.model).eval().requires_grad_(True), spec, train, params, task
    )
    places = {f"{name}.weight": worth for name, worth in narrow.items()}
    wide = widen_tensors(scratch, earlier.plan, places)
    return {name: wide[f"{name}.weight"] for name in narrow}


def make_plan(
    dense: nn.Module, spec: ModelSpec, train: Split, params: ShapeParams, task: Task, goal: PruneGoal
) -> tuple[dict[str, KeptChannels], dict[str, str]]:
    """The channels to keep of each module that loses some, and why others cannot; the model stays as it is.

    Raises CompressionError as rank_channels(), and if the network cannot be cut or the target is out of
    reach; ArtifactError if the profile is of another network.
    """
    ranking = rank_channels(dense, spec, train, params, task, goal.earlier)
    removed = _removed(ranking, params, goal)
    plan = to_plan(dense, ranking.groups, removed)
    _prune_by_library(ranking.traced, ranking.groups, removed)
    require_equal(apply_plan(copy.deepcopy(dense), plan), ranking.traced, example(spec, TRACED, seed=0))
    return plan, ranking.not_pruned


def _removed(ranking: Ranking, params: ShapeParams, goal: PruneGoal) -> list[Tensor]:
    """The channels that go: for a target of latency as many of each group as in the network timed."""

    def limits(share: float) -> Limits:
        fraction = 1.0 - (1.0 - params.target.fraction) * share
        return Limits(fraction, params.scope, goal.profile.round_to, params.max_ratio)

    def cut(share: float) -> list[Tensor]:
        return select_channels(
            ranking.groups, ranking.scores, ranking.layers, ranking.cost, limits(share), ranking.not_pruned
        )

    if params.target.kind == "latency":
        counts = fraction_of_counts(
            ranking.groups, _counts(ranking.groups, goal.profile), goal.share, limits(goal.share)
        )
        return lowest_scoring(ranking.scores, counts)
    if goal.share < 1.0:
        cut(1.0)  # a target that the last cut would not reach is named before the first training
    return cut(goal.share)


def _counts(groups: Sequence[ChannelGroup], profile: Profile) -> list[int]:
    """How many channels of each group go, by the profile."""
    kept = profile.chosen.channels if profile.chosen else {}
    if kept.keys() != {group.root for group in groups} or any(
        kept[group.root] > group.channels for group in groups
    ):
        raise ArtifactError(
            "reports/profile.json: is of another network or target; run `dvc repro -f -s profile`"
        )
    return [group.channels - kept[group.root] for group in groups]


def _nothing_to_prune(not_pruned: dict[str, str]) -> str:
    why = reasons(not_pruned) or "prune.ignored names them all"
    return (
        f"no layer of this network can be pruned ({why}); ignore fewer layers, take another model.name, or "
        "name a smaller network in prune.student"
    )


def channels_gone(group: ChannelGroup, plan: Plan) -> Tensor:
    """The channels of a group that a plan does not keep."""
    member = group.members[0]
    kept = plan.get(member.module, KeptChannels())
    kept_here = kept.out if member.side == "out" else kept.in_
    if kept_here is None:
        return torch.tensor([], dtype=torch.int64)
    lost = ~torch.isin(member.positions, torch.tensor(kept_here))
    return member.channels[lost].sort().values.unique_consecutive()  # type: ignore[no-any-return,no-untyped-call]


def _prune_by_library(scratch: nn.Module, groups: Sequence[ChannelGroup], removed: Sequence[Tensor]) -> None:
    """Let torch-pruning remove the same channels, in place.

    A root's outputs belong to one group only, so their indices stay valid while other groups are cut. Heads
    it does not know: they go as the plan says.
    """
    heads = [(group, channels) for group, channels in zip(groups, removed, strict=True) if group.width > 1]
    apply_plan(scratch, to_plan(scratch, *zip(*heads, strict=True)) if heads else {})
    for group, channels in zip(groups, removed, strict=True):
        if len(channels) and group.width == 1:
            group.traced.prune(idxs=group.root_indices(channels))


def require_equal(ours: nn.Module, theirs: nn.Module, example: Tensor) -> None:
    """Raises CompressionError if the two networks differ in a tensor or in an output bit, or do not run."""
    with torch.no_grad(), ModuleTracker(ours) as current:
        try:
            same = torch.equal(ours.eval()(example), theirs.eval()(example))
        except RuntimeError as error:
            raise CompressionError(
                f"the pruned network does not run: module {current.name!r}: {' '.join(str(error).split())}; "
                "its forward pass depends on channel counts that pruning changed; add the layers before it "
                "to prune.ignored"
            ) from error
    theirs_by_name = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if not torch.equal(tensor, theirs_by_name[name]):
            raise CompressionError(
                f"{name!r} is not cut as the dependency graph asks; add its module to prune.ignored"
            )
    if not same:
        raise CompressionError(
            "the pruned network and its check differ in their outputs; prune another architecture"
        )
