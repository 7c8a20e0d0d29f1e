"""Which channels go: the largest model, along an order of channels, whose cost fits a target.

Costs need not fall with every channel: a layer of 60 channels can be slower than one of 64. So every prefix
of the order is looked at, from the first on, and the first that fits is taken.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.errors import CompressionError, listed
from pipeline.models.channels.groups import ChannelGroup
from pipeline.prune.channels.widths import LayerCost, Measure, Narrowing

REMOVED_SCORE = -1.0
"""The score of a channel that an earlier cut removed: below all others, and never given back."""

MOST_REASONS = 3
"""Reasons that an error message lists at most."""


@dataclass(frozen=True)
class Limits:
    """fraction: of the dense network's cost, at most; others as in the `prune` section, round_to decided."""

    fraction: float
    scope: Literal["global", "layer"]
    round_to: int
    max_ratio: float


def select_channels(
    groups: Sequence[ChannelGroup],
    scores: Sequence[Tensor],
    layers: Mapping[str, LayerCost],
    cost: Measure,
    limits: Limits,
    not_pruned: Mapping[str, str],
) -> list[Tensor]:
    """The channels to remove from each group, rising.

    scores: one per channel of each group, low goes first. not_pruned: why other layers cannot go, for the
    message. scope "layer" takes the same fraction of each group, up to one rounding step. Deterministic:
    equal scores go in the order of groups and channels. Raises CompressionError if nothing that may be
    removed meets the target.
    """
    # 1. One order for the channels of all groups, and what an earlier cut has taken already.
    by_score = [torch.argsort(score, stable=True) for score in scores]
    order = _order(scores, by_score, limits.scope)
    gone = [int((score == REMOVED_SCORE).sum()) for score in scores]
    narrowing = Narrowing(layers, groups, by_score)

    def fraction_of(counts: Sequence[int]) -> float:
        return cost.of(narrowing.widths(counts)) / cost.dense

    # 2. Prefixes of that order, the shortest first, until one fits: each removes one rounding step more.
    least = math.inf
    rounding = [_step(group, limits) for group in groups]
    for steps, counts in _prefixes(order, groups, gone, limits):
        least = min(least, fraction_of(counts))
        if least <= limits.fraction:
            # 3. The last step may have removed more than needed: return what still fits.
            back = _give_back(
                counts, gone, order[:steps], rounding, lambda counts: fraction_of(counts) <= limits.fraction
            )
            return lowest_scoring(scores, back)
    raise out_of_reach(least, cost.name, limits, not_pruned)


def lowest_scoring(scores: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """Channels of the lowest scores, `counts` of each group, rising."""
    return [
        torch.argsort(score, stable=True)[:count].sort().values
        for score, count in zip(scores, counts, strict=True)
    ]


def max_removable(groups: Sequence[ChannelGroup], limits: Limits) -> list[int]:
    """How many channels of each group may go, whatever the target."""
    return [_allowed(group.channels, group, limits) for group in groups]


def fraction_of_counts(
    groups: Sequence[ChannelGroup], counts: Sequence[int], share: float, limits: Limits
) -> list[int]:
    """A share of `counts` channels of each group, in whole rounding steps; all of them if the share is 1."""
    return [
        _allowed(math.floor(share * count), group, limits)
        for group, count in zip(groups, counts, strict=True)
    ]


def out_of_reach(least: float, name: str, limits: Limits, not_pruned: Mapping[str, str]) -> CompressionError:
    """What to say if the least that can be reached of the cost called `name` is above the target.

    not_pruned: why which layers cannot be cut at all.
    """
    within = f"with round_to {limits.round_to}, max_ratio {limits.max_ratio} and the ignored layers"
    reach = f"{least:.3f} to 1.0 can be reached" if least < 1.0 else "no channel may go at all"
    uncut = f"; no plan can cut {reasons(not_pruned)}" if not_pruned else ""
    return CompressionError(
        f"prune.target: {limits.fraction:.3f} of the dense {name} is out of reach; {within}, {reach}{uncut}; "
        f"raise the target or prune.max_ratio, lower prune.round_to, or ignore fewer layers"
    )


def reasons(not_pruned: Mapping[str, str]) -> str:
    """Why which layers cannot be cut, the first of them."""
    found = [f"{modules}: {reason}" for modules, reason in not_pruned.items()]
    return listed(found, MOST_REASONS, "; ")


def _prefixes(
    order: Sequence[int], groups: Sequence[ChannelGroup], gone: Sequence[int], limits: Limits
) -> Iterator[tuple[int, list[int]]]:
    """The counts of removed channels wherever they change, with the steps of the order behind them."""
    asked, counts = [0] * len(groups), list(gone)
    yield 0, counts
    for step, group in enumerate(order, start=1):
        asked[group] += 1
        allowed = max(_allowed(asked[group], groups[group], limits), gone[group])
        if allowed != counts[group]:
            counts = [*counts[:group], allowed, *counts[group + 1 :]]
            yield step, counts


def _order(
    scores: Sequence[Tensor], by_score: Sequence[Tensor], scope: Literal["global", "layer"]
) -> list[int]:
    """The group that loses a channel at each step.

    For the same fraction everywhere, a channel's rank within its group, as a fraction, takes the place of its
    score.
    """
    if scope == "layer":
        keys = [torch.arange(1, len(score) + 1, dtype=torch.float64) / len(score) for score in scores]
    else:
        keys = [score[channels].double() for score, channels in zip(scores, by_score, strict=True)]
    groups = torch.cat([torch.full((len(key),), group) for group, key in enumerate(keys)])
    order: list[int] = groups[torch.argsort(torch.cat(keys), stable=True)].tolist()
    return order


def _give_back(
    counts: list[int],
    gone: list[int],
    removed: Sequence[int],
    steps: list[int],
    fits: Callable[[Sequence[int]], bool],
) -> list[int]:
    """Use what the last step freed beyond need: each group may have one step back, the last first."""
    for group in dict.fromkeys(reversed(removed)):
        larger = [count - steps[group] if index == group else count for index, count in enumerate(counts)]
        if larger[group] >= gone[group] and fits(larger):
            counts = larger
    return counts


def _allowed(wanted: int, group: ChannelGroup, limits: Limits) -> int:
    """How many channels go when `wanted` would: up to the largest ratio, the rest a multiple."""
    kept = group.channels - min(wanted, math.floor(limits.max_ratio * group.channels))
    step = _step(group, limits)
    return group.channels - min(group.channels, math.ceil(kept / step) * step)


def _step(group: ChannelGroup, limits: Limits) -> int:
    """Channels that must go together to keep a multiple of round_to outputs: a head counts for its width."""
    return limits.round_to // math.gcd(limits.round_to, group.width)
