"""Which channels go: the largest model, along an order of channels, whose MACs fit a budget.

MACs of every candidate follow from the dense MACs of each layer and the channels it would keep, so
that no candidate is built.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.errors import CompressionError
from pipeline.models.attention import has_heads
from pipeline.models.groups import ChannelGroup, Side

GONE = -1.0
"""The score of a channel that an earlier cut removed: below all others, which are not negative, and never given back."""


@dataclass(frozen=True)
class Layer:
    """A layer that does MACs; those of a depthwise convolution follow its channels once, not twice.

    So do those between the heads of an attention, whose channels they are.
    """

    macs: int
    out: int
    in_: int
    depthwise: bool


@dataclass(frozen=True)
class Limits:
    """budget: MACs at most; the others as in the `prune` section."""

    budget: int
    scope: Literal["global", "layer"]
    round_to: int
    max_ratio: float


def layers_of(model: nn.Module, macs: Mapping[str, int]) -> dict[str, Layer]:
    """The layers that pruning can make cheaper, by module name; `macs` as module_macs() gives them."""
    found = {}
    for name, module in model.named_modules():
        if name in macs and isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels == module.out_channels
            found[name] = Layer(macs[name], module.out_channels, module.in_channels, depthwise)
        elif name in macs and isinstance(module, nn.Linear):
            found[name] = Layer(macs[name], module.out_features, module.in_features, depthwise=False)
        elif name in macs and has_heads(module):
            heads = int(module.num_heads)
            found[name] = Layer(macs[name], heads, heads, depthwise=True)
    return found


def select(
    groups: Sequence[ChannelGroup],
    scores: Sequence[Tensor],
    layers: Mapping[str, Layer],
    total_macs: int,
    limits: Limits,
) -> list[Tensor]:
    """The channels to remove from each group, rising.

    scores: one per channel of each group, low goes first. scope "layer" takes the same fraction of each
    group, up to one rounding step. Deterministic: equal scores go in the order of groups and channels.
    Raises CompressionError where even the most that may be removed does not meet the budget.
    """
    by_score = [torch.argsort(score, stable=True) for score in scores]
    order = _order(scores, by_score, limits.scope)
    gone = [int((score == GONE).sum()) for score in scores]

    def counts_after(steps: int) -> list[int]:
        asked = torch.bincount(order[:steps], minlength=len(groups)).tolist()
        allowed = [_allowed(wanted, group, limits) for wanted, group in zip(asked, groups, strict=True)]
        return [max(pair) for pair in zip(allowed, gone, strict=True)]

    def macs_of(counts: list[int]) -> int:
        removed = [channels[:count] for channels, count in zip(by_score, counts, strict=True)]
        return remaining_macs(groups, removed, layers, total_macs)

    fewest = macs_of(counts_after(len(order)))
    if fewest > limits.budget:
        raise CompressionError(_out_of_reach(fewest, total_macs, limits))
    low, high = 0, len(order)  # removing `high` channels fits; the fewest that fit lie in low..high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs_of(counts_after(middle)) <= limits.budget else (middle + 1, high)
    steps = [_step(group, limits) for group in groups]
    counts = _give_back(counts_after(low), gone, order[:low], steps, lambda counts: macs_of(counts) <= limits.budget)
    return [channels[:count].sort().values for channels, count in zip(by_score, counts, strict=True)]


def remaining_macs(
    groups: Sequence[ChannelGroup], removed: Sequence[Tensor], layers: Mapping[str, Layer], total_macs: int
) -> int:
    """MACs of the model without the removed channels of each group; work outside layers stays as it is."""
    lost: dict[tuple[str, Side], int] = {}
    for group, channels in zip(groups, removed, strict=True):
        gone = torch.zeros(group.channels, dtype=torch.bool)
        gone[channels] = True
        for member in group.members:
            if member.module in layers:
                key = (member.module, member.side)
                lost[key] = lost.get(key, 0) + int(gone[member.channels].sum())
    saved = 0
    for name, layer in layers.items():
        out = layer.out - lost.get((name, "out"), 0)
        in_ = layer.in_ - lost.get((name, "in"), 0)
        # Exact in integers: the MACs of a layer are a multiple of what they are divided by.
        kept = layer.macs * out // layer.out
        saved += layer.macs - (kept if layer.depthwise else kept * in_ // layer.in_)
    return total_macs - saved


def _order(scores: Sequence[Tensor], by_score: Sequence[Tensor], scope: Literal["global", "layer"]) -> Tensor:
    """The group that loses a channel at each step.

    For the same fraction everywhere, a channel's rank within its group, as a fraction, takes the place of its score.
    """
    if scope == "layer":
        keys = [torch.arange(1, len(score) + 1, dtype=torch.float64) / len(score) for score in scores]
    else:
        keys = [score[channels].double() for score, channels in zip(scores, by_score, strict=True)]
    groups = torch.cat([torch.full((len(key),), group) for group, key in enumerate(keys)])
    return groups[torch.argsort(torch.cat(keys), stable=True)]


def _give_back(
    counts: list[int], gone: list[int], removed: Tensor, steps: list[int], fits: Callable[[list[int]], bool]
) -> list[int]:
    """Use what the last rounding step freed beyond need: each group may have one step back, the last cut first."""
    for group in dict.fromkeys(removed.flip(0).tolist()):
        larger = [count - steps[group] if index == group else count for index, count in enumerate(counts)]
        if larger[group] >= gone[group] and fits(larger):
            counts = larger
    return counts


def _allowed(wanted: int, group: ChannelGroup, limits: Limits) -> int:
    """How many channels go when `wanted` would: not above the largest ratio, and the rest rounded up to a multiple."""
    kept = group.channels - min(wanted, math.floor(limits.max_ratio * group.channels))
    step = _step(group, limits)
    return group.channels - min(group.channels, math.ceil(kept / step) * step)


def _step(group: ChannelGroup, limits: Limits) -> int:
    """Channels that must go together to keep a multiple of round_to outputs: a head counts for its width."""
    return limits.round_to // math.gcd(limits.round_to, group.width)


def _out_of_reach(fewest: int, total_macs: int, limits: Limits) -> str:
    return (
        f"prune.target: {limits.budget / total_macs:.3f} of the dense MACs is out of reach; with round_to {limits.round_to}, "
        f"max_ratio {limits.max_ratio} and the ignored layers, {fewest / total_macs:.3f} to 1.0 can be reached; "
        f"raise the target or prune.max_ratio, lower prune.round_to, or ignore fewer layers"
    )
