"""Structured pruning to a target in MACs: whole channels go, and the plan of what stays is data.

The plan is computed twice, by index tables here and by torch-pruning on a copy that is thrown away;
both must give the same network, bit for bit.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.compress.cost import Cost, count_macs, input_shape, measure_cost, module_macs
from pipeline.compress.importance import score_groups, weigh
from pipeline.compress.params import PruneParams
from pipeline.compress.search import GONE, Limits, layers_of, select
from pipeline.compress.student import new_student
from pipeline.compress.validate import validate
from pipeline.data.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.cut import apply_plan
from pipeline.models.groups import ChannelGroup, to_plan, trace_structure
from pipeline.models.params import NetworkParams
from pipeline.models.plan import KeptChannels, Plan
from pipeline.models.probe import LastModule
from pipeline.models.spec import ModelSpec
from pipeline.models.weights import load_model, save_model
from pipeline.models.widen import widen
from pipeline.tasks.task import Task

EXAMPLE_IMAGES = 2
"""Images in the batch that traces and verifies."""


@dataclass(frozen=True)
class PruneReport:
    """Costs and validation top-1 of the pruned model, before fine-tuning, and of its dense parent.

    before_top1: of what was cut, the dense model or, between the parts of a schedule, one that was pruned and trained.
    whole: layers that lost nothing because no plan can cut them, and why.
    """

    dense: Cost
    pruned: Cost
    dense_top1: float
    before_top1: float
    pruned_top1: float
    whole: dict[str, str]

    def metrics(self) -> dict[str, float]:
        """Flat numbers; fractions are of the dense model."""
        values: dict[str, float] = {"val_top1": self.pruned_top1, "dense_val_top1": self.dense_top1}
        for name in ("macs", "params", "size_bytes"):
            dense, pruned = getattr(self.dense, name), getattr(self.pruned, name)
            values |= {name: pruned, f"dense_{name}": dense, f"{name}_fraction": round(pruned / dense, 6)}
        return values

    def record(self) -> dict[str, Any]:
        """What reports/prune.json holds."""
        return {**self.metrics(), "whole": self.whole}


@dataclass(frozen=True)
class Part:
    """One cut of a schedule. share: of the way to the target, up to 1. tuned: what the cut before became; None of the first."""

    share: float = 1.0
    tuned: Path | None = None


WHOLE = Part()
NOTHING: Plan = {}


def prune(dense_folder: Path, data: Path, out: Path, params: PruneParams, task: Task, part: Part = WHOLE) -> PruneReport:
    """Prune a dense artifact to `params.target` of its MACs, or a part of the way, or put `params.student` in its place, and
    save the result as an artifact.

    Raises CompressionError where the network cannot be traced or cut, or the target is out of reach, or the student is no
    smaller;
    ArtifactError and DataError where an input is unusable.
    """
    spec, dense = load_model(dense_folder)
    if spec.plan:
        raise CompressionError(f"{dense_folder}: is already pruned; prune the dense model that it was made from")
    train, val = Split.open(data, "train"), Split.open(data, "val")

    def top1(model: nn.Module) -> float:
        return validate(model, spec, val, params.batch_size, task)["top1"]

    shape_CHW = input_shape(spec)
    dense_cost, dense_top1 = measure_cost(dense, shape_CHW, _weights(dense_folder, spec)), top1(dense)
    before_top1, gone = dense_top1, spec.plan
    if part.tuned:
        tuned_spec, tuned = load_model(part.tuned)
        before_top1, gone = top1(tuned), tuned_spec.plan
        dense = widen(dense, gone, tuned)
    whole: dict[str, str] = {}
    if params.student:
        child, pruned = _student(dense, spec, params.student, train, params.seed)
    else:
        plan, whole = make_plan(dense, spec, train, params, task, part.share, gone)
        pruned = apply_plan(dense, plan)
        child = spec.model_copy(update={"plan": plan, "ancestors": spec.ancestors | {"dense": spec.digest}})
    saved = save_model(out, child, pruned)
    return PruneReport(
        dense=dense_cost,
        pruned=measure_cost(pruned, shape_CHW, _weights(out, saved)),
        dense_top1=dense_top1,
        before_top1=before_top1,
        pruned_top1=top1(pruned),
        whole=whole,
    )


def _student(dense: nn.Module, spec: ModelSpec, params: NetworkParams, train: Split, seed: int) -> tuple[ModelSpec, nn.Module]:
    """Another network in the dense one's place, and its spec."""
    child, student = new_student(spec, params, train, seed)
    macs, most = count_macs(student, input_shape(spec)), count_macs(dense, input_shape(spec))
    if macs >= most:
        raise CompressionError(
            f"prune.student: {child.architecture.name} has {macs:,} MACs and the dense model {most:,}; take a smaller width"
        )
    return child, student


def make_plan(
    dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, share: float = 1.0, gone: Plan = NOTHING
) -> tuple[dict[str, KeptChannels], dict[str, str]]:
    """The channels to keep of each module that loses some, and why which others cannot; the model stays as it is.

    train: where taylor and hessian take their gradients. share: of the way to the target. gone: an earlier plan, whose channels
    are zeros in `dense` and stay away. Raises CompressionError as prune().
    """
    scratch = copy.deepcopy(dense).eval().requires_grad_(True)
    example_BCHW = example(spec)
    structure = trace_structure(scratch, example_BCHW, params.ignored)
    worths = weigh(scratch, spec, train, params, task)
    groups, scores = score_groups(scratch, structure.groups, worths, params.importance, params.seed)
    shape_CHW = input_shape(spec)
    total = count_macs(dense, shape_CHW)
    target = 1.0 - (1.0 - params.target) * share
    limits = Limits(int(target * total), params.scope, params.round_to, params.max_ratio)
    scores = [score.index_fill(0, channels_gone(group, gone), GONE) for group, score in zip(groups, scores, strict=True)]
    removed = select(groups, scores, layers_of(dense, module_macs(dense, shape_CHW)), total, limits)
    plan = to_plan(dense, groups, removed)
    _prune_by_library(scratch, groups, removed)
    verify(apply_plan(copy.deepcopy(dense), plan), scratch, example_BCHW)
    return plan, structure.whole


def channels_gone(group: ChannelGroup, plan: Plan) -> Tensor:
    """The channels of a group that a plan does not keep."""
    member = group.members[0]
    kept = plan.get(member.module, KeptChannels())
    kept_here = kept.out if member.side == "out" else kept.in_
    if kept_here is None:
        return torch.tensor([], dtype=torch.int64)
    lost = ~torch.isin(member.positions, torch.tensor(kept_here))
    return member.channels[lost].sort().values.unique_consecutive()  # type: ignore[no-any-return,no-untyped-call]


def example(spec: ModelSpec) -> Tensor:
    """A small batch of noise, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(EXAMPLE_IMAGES, *input_shape(spec), generator=generator)


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


def _weights(folder: Path, spec: ModelSpec) -> Path:
    assert spec.weights is not None, "a saved spec names its weights"
    return folder / spec.weights.file
