"""A smaller network in the dense one's place: without some channels or weights, or another one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.cost import Cost, count_macs, measure_cost
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import example
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.batch_norm import renew_statistics
from pipeline.prune.channels.ranking import PreviousCut, PruneGoal, make_plan
from pipeline.prune.channels.widen import widen
from pipeline.prune.params import PruneParams
from pipeline.prune.profile_report import Profile
from pipeline.prune.sparsify import kept_share, sparsify
from pipeline.prune.student import new_student
from pipeline.prune.validate import split_metrics
from pipeline.tasks.training.task import Task


@dataclass(frozen=True)
class PruneReport:
    """Costs and validation scores of the pruned model, before fine-tuning, and of its dense parent.

    A score is the task's. before_score: of what was cut, the dense model or, between the parts of a
    schedule, one that was pruned and trained. notes: further numbers that only some ways of pruning have.
    not_pruned: layers that lost nothing because no plan can cut them, and why. warning: what a reader must
    not miss.
    """

    dense: Cost
    pruned: Cost
    dense_score: float
    before_score: float
    pruned_score: float
    notes: dict[str, float]
    not_pruned: dict[str, str]
    warning: str | None

    def metrics(self) -> dict[str, float]:
        """Flat numbers; fractions are of the dense model."""
        values: dict[str, float] = {
            "val_score": self.pruned_score,
            "dense_val_score": self.dense_score,
            **self.notes,
        }
        for name in ("macs", "params", "size_bytes"):
            dense, pruned = getattr(self.dense, name), getattr(self.pruned, name)
            values |= {name: pruned, f"dense_{name}": dense, f"{name}_fraction": round(pruned / dense, 6)}
        return values

    def record(self) -> dict[str, Any]:
        """What reports/prune.json holds."""
        return {
            **self.metrics(),
            "not_pruned": self.not_pruned,
            **({"note": self.warning} if self.warning else {}),
        }


@dataclass(frozen=True)
class Part:
    """One cut of a schedule.

    share: of the way to the target, up to 1. tuned: what the cut before became; None of the first.
    """

    share: float = 1.0
    tuned: Path | None = None


WHOLE = Part()
ZEROS = {
    None: "zeros make nothing faster: they are multiplied like any number; weights.safetensors is smaller, "
    "ONNX files are not",
    "2_of_4": "faster on tensor cores with kernels for 2 in 4 alone, which nothing here calls; "
    "weights.safetensors is smaller, ONNX files are not",
}
"""What there is to say of zeros, by their pattern."""


@dataclass(frozen=True)
class PrunedNetwork:
    """A network in the dense one's place. spec: still without its weights. The others as in PruneReport."""

    spec: ModelSpec
    model: nn.Module
    notes: dict[str, float]
    not_pruned: dict[str, str] = field(default_factory=dict)
    warning: str | None = None


def prune(
    dense_folder: Path,
    data: Path,
    out: Path,
    params: PruneParams,
    profile: Profile,
    task: Task,
    part: Part = WHOLE,
) -> PruneReport:
    """Make a smaller model of a dense artifact, or go a part of the way, and save it as an artifact.

    Raises CompressionError if the network cannot be traced or cut, the target is out of reach, or a student
    is no smaller; ArtifactError and DataError if an input is unusable.
    """
    spec, dense = load_model(dense_folder)
    if spec.plan or spec.sparse:
        raise CompressionError(
            f"{dense_folder}: is already pruned; prune the dense model that it was made from"
        )
    train, val = Split.open(data, "train"), Split.open(data, "val")

    def score(model: nn.Module) -> float:
        return split_metrics(model, spec, val, params.batch_size, task)["score"]

    one = example(spec, 1)
    dense_cost, dense_score = measure_cost(dense, one, _weights(dense_folder, spec)), score(dense)
    before_score, earlier = dense_score, None
    if part.tuned:
        tuned_spec, tuned = load_model(part.tuned)
        before_score, earlier = score(tuned), PreviousCut(tuned_spec.plan, tuned)
        dense = widen(dense, tuned_spec.plan, tuned)
    smaller = smaller_network(dense, spec, train, params, task, PruneGoal(profile, part.share, earlier))
    if smaller.spec.plan or smaller.spec.sparse:
        renew_statistics(smaller.model, spec, train, params)
    saved = save_model(out, smaller.spec, smaller.model)
    return PruneReport(
        dense=dense_cost,
        pruned=measure_cost(smaller.model, one, _weights(out, saved)),
        dense_score=dense_score,
        before_score=before_score,
        pruned_score=score(smaller.model),
        notes=smaller.notes,
        not_pruned=smaller.not_pruned,
        warning=smaller.warning,
    )


def smaller_network(
    dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, goal: PruneGoal
) -> PrunedNetwork:
    """A smaller network of the dense one (or what became of it), which may be changed in place.

    Raises CompressionError.
    """
    if params.student:
        return _student(dense, spec, train, params)
    way = _without_weights if params.target.kind == "weights" else _without_channels
    return way(dense, spec, train, params, task, goal)


def _without_weights(
    dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, goal: PruneGoal
) -> PrunedNetwork:
    sparse = sparsify(dense, spec, train, params, task, goal.share)
    notes = {"weights_fraction": round(kept_share(dense, params.ignored), 6)}
    return PrunedNetwork(_child(spec, sparse=sparse), dense, notes, warning=ZEROS[params.target.pattern])


def _without_channels(
    dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, goal: PruneGoal
) -> PrunedNetwork:
    plan, not_pruned = make_plan(dense, spec, train, params, task, goal)
    pruned = apply_plan(dense, plan)
    notes: dict[str, float] = {"round_to": goal.profile.round_to}
    if goal.profile.chosen and goal.share == WHOLE.share:
        notes |= {"latency_fraction": goal.profile.chosen.latency, "latency_batch": goal.profile.chosen.batch}
    return PrunedNetwork(_child(spec, plan=plan), pruned, notes, not_pruned)


def _student(dense: nn.Module, spec: ModelSpec, train: Split, params: PruneParams) -> PrunedNetwork:
    assert params.student is not None, "called if there is one"
    child, student = new_student(spec, params.student, train, params.seed)
    macs, most = (count_macs(model, example(spec, 1)) for model in (student, dense))
    if macs >= most:
        raise CompressionError(
            f"prune.student: {child.architecture.name} has {macs:,} MACs and the dense model {most:,}; take "
            "a smaller width"
        )
    return PrunedNetwork(child, student, notes={})


def _child(spec: ModelSpec, **changes: Any) -> ModelSpec:
    return spec.model_copy(update={"ancestors": spec.ancestors | {"dense": spec.digest}, **changes})


def _weights(folder: Path, spec: ModelSpec) -> Path:
    assert spec.weights is not None, "a saved spec names its weights"
    return folder / spec.weights.file
