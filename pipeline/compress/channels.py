"""Structured pruning: whole channels go until a target is met, and the plan of what stays is data.

The plan is computed twice, by index tables here and by torch-pruning on a copy that is thrown away;
both must give the same network, bit for bit.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.compress.cost import example, input_shape
from pipeline.compress.importance import score_groups, weigh
from pipeline.compress.latency_table import LatencyTable, Profile
from pipeline.compress.params import PruneParams
from pipeline.compress.search import GONE, Limits, select
from pipeline.compress.widths import Layer, Measure, latency_measure, layers_of, macs_measure, params_measure, widths_of
from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.groups import ChannelGroup, to_plan, trace_structure
from pipeline.models.nets.cut import apply_plan
from pipeline.models.plan import KeptChannels, Plan
from pipeline.models.probe import LastModule
from pipeline.models.spec import ModelSpec
from pipeline.tasks.task import Task

SHOWN = 3
"""Reasons that an error message lists at most."""


@dataclass(frozen=True)
class Aim:
    """share: of the way to the target. gone: an earlier plan, whose channels are zeros in the network and stay away."""

    profile: Profile
    share: float = 1.0
    gone: Plan = field(default_factory=dict)


def make_plan(
    dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, aim: Aim
) -> tuple[dict[str, KeptChannels], dict[str, str]]:
    """The channels to keep of each module that loses some, and why which others cannot; the model stays as it is.

    train: where taylor and hessian take their gradients. Raises CompressionError where the network cannot be traced or cut, or
    the target is out of reach.
    """
    scratch = copy.deepcopy(dense).eval().requires_grad_(True)
    example_BCHW = example(spec)
    structure = trace_structure(scratch, example_BCHW, params.ignored)
    if not structure.groups:
        raise CompressionError(_nothing_to_prune(structure.whole))
    worths = weigh(scratch, spec, train, params, task)
    groups, scores = score_groups(scratch, structure.groups, worths, params.importance, params.seed)
    scores = [score.index_fill(0, channels_gone(group, aim.gone), GONE) for group, score in zip(groups, scores, strict=True)]
    layers = layers_of(dense, input_shape(spec))
    measure = _measure(dense, spec, layers, params, aim.profile)
    fraction = 1.0 - (1.0 - params.target.fraction) * aim.share
    limits = Limits(fraction, params.scope, aim.profile.round_to, params.max_ratio)
    removed = select(groups, scores, layers, measure, limits)
    plan = to_plan(dense, groups, removed)
    _prune_by_library(scratch, groups, removed)
    verify(apply_plan(copy.deepcopy(dense), plan), scratch, example_BCHW)
    return plan, structure.whole


def _nothing_to_prune(whole: dict[str, str]) -> str:
    reasons = [f"{modules}: {reason}" for modules, reason in whole.items()]
    more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    return f"no layer of this network can be pruned ({'; '.join([*reasons[:SHOWN], *more]) or 'prune.ignored names them all'})"


def _measure(dense: nn.Module, spec: ModelSpec, layers: Mapping[str, Layer], params: PruneParams, profile: Profile) -> Measure:
    """What the target limits."""
    if params.target.kind == "macs":
        return macs_measure(dense, input_shape(spec), layers)
    if params.target.kind == "params":
        return params_measure(dense, layers)
    assert profile.latency is not None, "the stage `profile` of the same params measures what a target of latency needs"
    return latency_measure(profile.latency, layers)


def predicted(table: LatencyTable, pruned: nn.Module, shape_CHW: tuple[int, int, int]) -> dict[str, float]:
    """What the table says of a pruned network, as fractions of the dense one's time, for reports/prune.json."""
    fraction = table.fraction(widths_of(layers_of(pruned, shape_CHW)))
    return {
        "predicted_latency_fraction": round(fraction, 4),
        "predicted_latency_error": table.error,
        "predicted_latency_batch": table.batch,
    }


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

    A root's outputs belong to one group only, so their indices stay valid while other groups are cut. Heads it does not know:
    they go as the plan says.
    """
    heads = [(group, channels) for group, channels in zip(groups, removed, strict=True) if group.width > 1]
    apply_plan(scratch, to_plan(scratch, *zip(*heads, strict=True)) if heads else {})
    for group, channels in zip(groups, removed, strict=True):
        if len(channels) and group.width == 1:
            group.traced.prune(idxs=group.root_indices(channels))


def verify(ours: nn.Module, theirs: nn.Module, example_BCHW: Tensor) -> None:
    """Raises CompressionError where the two networks differ in a tensor or in an output bit, or do not run."""
    with torch.no_grad(), LastModule(ours) as current:
        try:
            same = torch.equal(ours.eval()(example_BCHW), theirs.eval()(example_BCHW))
        except RuntimeError as error:
            raise CompressionError(
                f"the pruned network does not run: module {current.name!r}: {' '.join(str(error).split())}; "
                "its forward pass depends on channel counts that pruning changed; add the layers before it to prune.ignored"
            ) from error
    theirs_by_name = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if not torch.equal(tensor, theirs_by_name[name]):
            raise CompressionError(f"{name!r} is not cut as the dependency graph asks; add its module to prune.ignored")
    if not same:
        raise CompressionError("the pruned network and its check differ in their outputs; prune another architecture")
