"""Measurements of the stage `profile`: networks cut along the order of channels, in turns with the dense one.

Nothing predicts how long a network takes: a table of single layers, added up and fitted to whole networks,
was up to a fifth off (docs/failed.md). But pruning takes channels in one order, so the networks that it can
leave are points on a line, and the widest that meets a target is found by timing a dozen of them.
"""

import copy
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.channels.groups import to_plan
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.cut import apply_plan
from pipeline.profile.timing import TimingDevice, in_turns
from pipeline.prune.channels.ranking import Ranking, rank_channels
from pipeline.prune.channels.search import (
    Limits,
    lowest_scoring,
    max_removable,
    out_of_reach,
    select_channels,
)
from pipeline.prune.channels.widths import Narrowing
from pipeline.prune.params import ShapeParams
from pipeline.prune.profile_report import Chosen, Profile, RoundingTrial, TimedNetwork
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.tasks.training.task import make_task

ROUNDINGS = (1, 4, 8, 16, 32)
CLEARLY_FASTER = 0.97
"""A coarser rounding, which leaves less choice, must be faster by this."""
PROFILE_ROUNDS = 10
"""Rounds in which all networks have a turn."""
FEWEST_PASSES = 3
PASS_POINTS = 4
"""Networks that a pass adds between the widest that meets the target and the next: after three passes what is
left between these two is 1/125 of the MACs."""
LARGEST_GAP = 0.01
"""Fraction of the MACs between these two above which the search goes on, up to MOST_PASSES. Other work on the
machine shifts ratios (ResNet-18 at batch 1 with 0.52 of the MACs: under 0.5, then 0.55), so a later pass may
find a network on the other side of the target, and then the gap is larger."""
MOST_PASSES = 6

Counts = tuple[int, ...]
"""Channels that each group loses, those of the lowest scores."""


@dataclass(frozen=True)
class Subject:
    """A dense network and what of it can go."""

    spec: ModelSpec
    dense: nn.Module
    ranking: Ranking
    params: ShapeParams

    @classmethod
    def of(cls, folder: Path, data: Path, params: ShapeParams, task: TaskParams) -> "Subject":
        """The subject of an artifact, channels ranked as pruning ranks them. Raises as make_profile()."""
        spec, dense = load_model(folder)
        ranking = rank_channels(
            dense, spec, Split.open(data, "train"), params, make_task(task, notes_of(spec.task))
        )
        return cls(spec, dense, ranking, params)

    def limits(self, fraction: float, round_to: int) -> Limits:
        return Limits(fraction, self.params.scope, round_to, self.params.max_ratio)

    def cut(self, fraction: float, round_to: int) -> Counts:
        """Counts that leave a fraction of the cost. Raises CompressionError as select_channels()."""
        ranking, limits = self.ranking, self.limits(fraction, round_to)
        chosen = select_channels(
            ranking.groups, ranking.scores, ranking.layers, ranking.cost, limits, ranking.not_pruned
        )
        return tuple(map(len, chosen))

    def smallest(self, round_to: int) -> Counts:
        """Counts without any channel that may go."""
        return tuple(max_removable(self.ranking.groups, self.limits(0.0, round_to)))

    def fraction(self, counts: Counts) -> float:
        """Fraction of the cost that is left."""
        ranking = self.ranking
        orders = [torch.argsort(score, stable=True) for score in ranking.scores]
        return (
            ranking.cost.of(Narrowing(ranking.layers, ranking.groups, orders).widths(counts))
            / ranking.cost.dense
        )

    def network(self, counts: Counts) -> nn.Module:
        plan = to_plan(self.dense, self.ranking.groups, lowest_scoring(self.ranking.scores, counts))
        return apply_plan(copy.deepcopy(self.dense), plan)


def measure(subject: Subject, device: TimingDevice) -> Profile:
    """Raises CompressionError if the target is out of reach."""
    params = subject.params
    roundings = try_roundings(subject, device) if params.round_to == "auto" else []
    round_to = fastest(roundings, params.target.fraction) if params.round_to == "auto" else params.round_to
    chosen = choose(subject, device, round_to) if params.target.kind == "latency" else None
    return Profile(round_to=round_to, roundings=roundings, chosen=chosen)


def try_roundings(subject: Subject, device: TimingDevice) -> list[RoundingTrial]:
    """A network of the target's cost for each rounding that can reach it; for latency, of as many MACs."""
    target = subject.params.target
    least = subject.fraction(subject.smallest(ROUNDINGS[0])) if target.kind == "latency" else 0.0
    cuts: dict[int, Counts] = {}
    for round_to in ROUNDINGS:
        try:
            cuts[round_to] = subject.cut(max(target.fraction, least), round_to)
        except CompressionError:
            if round_to == ROUNDINGS[0]:
                raise
    smallest = [subject.smallest(round_to) for round_to in cuts] if target.kind == "latency" else []
    measured = _latencies(subject, device, [*cuts.values(), *smallest])
    return [
        RoundingTrial(
            round_to=round_to,
            cost=round(subject.fraction(counts), 4),
            latency=measured[index],
            lowest=measured[len(cuts) + index] if smallest else None,
        )
        for index, (round_to, counts) in enumerate(cuts.items())
    ]


def fastest(trials: Sequence[RoundingTrial], target: float) -> int:
    """The rounding with the least latency for the same cost: a coarser one may leave less than the target.

    If none reaches a target of latency, the one that comes nearest; choose() then says so.
    """
    within = [trial for trial in trials if (trial.lowest or 0.0) <= target]
    best, *coarser = within or [min(trials, key=lambda trial: trial.lowest or 0.0)]
    for trial in coarser:
        if trial.latency / trial.cost < CLEARLY_FASTER * best.latency / best.cost:
            best = trial
    return best.round_to


def choose(subject: Subject, device: TimingDevice, round_to: int) -> Chosen:
    """The widest network that meets the target of latency, of those that are timed.

    At first they lie between the smallest and the dense one, then between the widest that meets the target
    and the next. Each pass times these and the dense one again, so that none of them is judged by a busy
    moment of the machine. Raises CompressionError if none meets the target.
    """
    target, groups = subject.params.target, subject.ranking.groups
    uncut = (0,) * len(groups)
    runs = {uncut: device.network(subject.spec, subject.dense)}
    fractions: dict[Counts, list[float]] = {}
    near, ends = [uncut], (subject.fraction(subject.smallest(round_to)), 1.0)
    for number in range(MOST_PASSES):
        cuts = [subject.cut(fraction, round_to) for fraction in np.linspace(*ends, PASS_POINTS + 2).tolist()]
        if number >= FEWEST_PASSES and (ends[1] - ends[0] < LARGEST_GAP or runs.keys() >= set(cuts)):
            break
        timed = list(dict.fromkeys([*near, *cuts]))
        for counts in timed:
            if counts not in runs:
                runs[counts] = device.network(subject.spec, subject.network(counts))
        for counts, found in zip(
            timed, in_turns(device, [runs[counts] for counts in timed], PROFILE_ROUNDS), strict=True
        ):
            fractions.setdefault(counts, []).extend(found)
        trials = {
            counts: TimedNetwork(macs=subject.fraction(counts), latency=round(statistics.median(found), 4))
            for counts, found in fractions.items()
        }
        best = _widest(trials, subject.limits(target.fraction, round_to), subject.ranking.not_pruned)
        wider = [counts for counts in trials if trials[counts].macs > trials[best].macs]
        following = min(wider, key=lambda counts: trials[counts].macs, default=uncut)
        near, ends = [uncut, best, following], (trials[best].macs, trials[following].macs)
    return Chosen(
        device=device.name,
        runtime=device.runtime,
        batch=target.batch or 1,
        channels={group.root: group.channels - count for group, count in zip(groups, best, strict=True)},
        macs=trials[best].macs,
        latency=trials[best].latency,
        trials=sorted(trials.values(), key=lambda trial: trial.macs),
    )


def _widest(trials: Mapping[Counts, TimedNetwork], limits: Limits, not_pruned: Mapping[str, str]) -> Counts:
    """The widest network within the target of latency. Raises CompressionError if none is."""
    fitting = [counts for counts, trial in trials.items() if trial.latency <= limits.fraction]
    if not fitting:
        raise out_of_reach(min(trial.latency for trial in trials.values()), "latency", limits, not_pruned)
    return max(fitting, key=lambda counts: trials[counts].macs)


def _latencies(subject: Subject, device: TimingDevice, cuts: Sequence[Counts]) -> list[float]:
    """Latencies as fractions of the dense network's."""
    models = [subject.dense, *map(subject.network, cuts)]
    _, *others = in_turns(device, [device.network(subject.spec, model) for model in models], PROFILE_ROUNDS)
    return [round(statistics.median(fractions), 4) for fractions in others]
