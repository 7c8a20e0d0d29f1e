"""Channels that can only go together: a residual sum ties the outputs of several convolutions, and so on.

torch-pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900) finds them; here they become
plain index tables, so that search and plan need no tracing.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.base.params import nearest
from pipeline.errors import CompressionError
from pipeline.models.channels.pruning_library import torch_pruning as tp
from pipeline.models.description.plan import KeptChannels
from pipeline.models.nets.attention import has_heads
from pipeline.models.nets.cut import apply_plan, channel_dim
from pipeline.models.nets.probe import ModuleTracker

ChannelSide = Literal["out", "in"]

SUPPORTED = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
"""Modules that a pruning plan can slice (models/nets/cut.py)."""
Names = Mapping[nn.Module, str]
STEM = "stem"
"""Name in prune.ignored: the module called so, or the first layer of a network that has none."""


@dataclass(frozen=True)
class Member:
    """One side of a module: its position `positions[i]` goes when the group's channel `channels[i]` goes.

    module: or a parameter outside any layer, by its name; of an attention, the positions are its heads.
    """

    module: str
    side: ChannelSide
    positions: Tensor
    channels: Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed one by one, each from all members at once.

    repeats: a grouped convolution loses the same channel of each of its groups, so channel c stands for the
    outputs c, c + channels, c + 2 * channels ... of the root module. width: outputs side by side that one
    channel stands for. An attention's channels are its heads, of `width` outputs in each of q, k and v.
    """

    root: str
    channels: int
    repeats: int
    members: tuple[Member, ...]
    traced: Any = field(repr=False, compare=False)
    width: int = 1

    def root_indices(self, removed: Tensor) -> list[int]:
        """Output indices of the root module for channels to remove."""
        offsets = torch.arange(self.repeats)[:, None] * self.channels
        return sorted((offsets + removed[None, :]).flatten().tolist())


@dataclass(frozen=True)
class Structure:
    """groups: what can be pruned, in the order of the model's modules; not_pruned: what cannot, and why."""

    groups: list[ChannelGroup]
    not_pruned: dict[str, str]


class _NotPrunable(Exception):  # noqa: N818 - an answer, not an error
    """A group of channels that no plan can cut; the text says why."""


def trace_groups(model: nn.Module, example: Tensor, ignored: list[str]) -> list[ChannelGroup]:
    """The groups of trace_structure() alone."""
    return trace_structure(model, example, ignored).groups


def trace_structure(model: nn.Module, example: Tensor, ignored: list[str]) -> Structure:
    """The prunable groups of a model, and those that stay whole because a plan cannot cut them.

    Left out: the classifier's outputs, and groups in which an ignored module's outputs take part. `ignored`
    holds names, which stand for all inside too, patterns, and STEM. Raises CompressionError for a model that
    cannot be traced or has no layer with channels, and for an ignored name that fits nothing.
    """
    names = {module: name for name, module in model.named_modules()}
    order = {name: index for index, name in enumerate(names.values())}
    if not any(isinstance(module, nn.Conv2d | nn.Linear) for module in names):
        raise CompressionError(
            "the network has no convolution (Conv2d) and no linear layer (Linear), so no channels to prune"
        )
    kept = _ignored_names(ignored, model)
    # 1. Trace. A forward pass may cache tensors of the traced graph, which cannot be copied: copy before.
    untraced = copy.deepcopy(model)
    graph, found = _trace(model, example)
    # 2. Turn each group of layers into index tables, unless it must stay whole.
    groups, not_pruned = [], {}
    for traced in found:
        if not _is_kept(graph, traced, names, kept):
            try:
                groups.append(_require_two_channels(_to_group(traced, names, graph)))
            except _NotPrunable as reason:
                not_pruned[_outputs_text(traced, names, graph, order)] = str(reason)
    # 3. Cut each group by one channel: only groups without which the network still runs are kept.
    fitting, unfit = _keep_runnable(untraced, example, sorted(groups, key=lambda group: order[group.root]))
    return Structure(fitting, not_pruned | unfit)


def to_plan(
    model: nn.Module, groups: Sequence[ChannelGroup], removed: Sequence[Tensor]
) -> dict[str, KeptChannels]:
    """Kept channels by module, in the order of the model's modules, from the channels each group loses."""
    gone: dict[str, dict[ChannelSide, set[int]]] = {}
    for group, channels in zip(groups, removed, strict=True):
        for member in group.members:
            positions = member.positions[torch.isin(member.channels, channels)].tolist()
            if positions:
                gone.setdefault(member.module, {}).setdefault(member.side, set()).update(positions)
    owners: dict[str, nn.Module | nn.Parameter] = {
        **dict(model.named_modules()),
        **dict(model.named_parameters()),
    }
    return {name: _kept(name, owner, gone[name]) for name, owner in owners.items() if name in gone}


def _kept(name: str, owner: nn.Module | nn.Parameter, gone: dict[ChannelSide, set[int]]) -> KeptChannels:
    kept = {
        side: [index for index in range(_size(owner, side)) if index not in indices]
        for side, indices in gone.items()
    }
    empty = [side for side, indices in kept.items() if not indices]
    if empty:
        raise CompressionError(
            f"{name!r} would keep no {empty[0]}put; lower prune.max_ratio or add it to prune.ignored"
        )
    return KeptChannels(out=kept.get("out"), in_=kept.get("in"))


def _size(owner: nn.Module | nn.Parameter, side: ChannelSide) -> int:
    if isinstance(owner, nn.Parameter):
        return owner.numel()  # all but one of its dimensions have size 1
    if isinstance(owner, nn.Conv2d):
        return owner.out_channels if side == "out" else owner.in_channels
    if isinstance(owner, nn.Linear):
        return owner.out_features if side == "out" else owner.in_features
    if isinstance(owner, nn.BatchNorm1d | nn.BatchNorm2d):
        return owner.num_features
    if isinstance(owner, nn.LayerNorm):
        return owner.normalized_shape[-1]
    assert has_heads(owner), (
        f"only modules of SUPPORTED and attention become members, not {type(owner).__name__}"
    )
    return int(owner.num_heads)  # type: ignore[arg-type]


def prunable_weights(model: nn.Module, ignored: list[str]) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers by module name, without those of ignored modules.

    Raises CompressionError for an unknown name, and if no weight is left.
    """
    modules = dict(model.named_modules())
    left_out = _ignored_names(ignored, model)
    layers = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)}
    found = {name: module.weight for name, module in layers.items() if name not in left_out}
    if not found:
        why = (
            "prune.ignored names all its layers; ignore fewer"
            if layers
            else "it has no convolution and no linear layer"
        )
        raise CompressionError(f"no weight of the network can be pruned: {why}")
    return found


def _ignored_names(ignored: list[str], model: nn.Module) -> set[str]:
    """All modules that the names and patterns of prune.ignored stand for."""
    modules = dict(model.named_modules())
    names, found = list(modules), set()
    for pattern in ignored:
        fitting = [name for name in names if name and fnmatchcase(name, pattern)]
        if pattern == STEM and not fitting:
            fitting = [name for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)][
                :1
            ]
        if not fitting:
            raise CompressionError(
                "prune.ignored: the model has no module "
                f"{pattern!r}{nearest(pattern, [n for n in names if n])}"
            )
        found |= {name for name in names if any(f"{name}.".startswith(f"{outer}.") for outer in fitting)}
    return found


def _trace(model: nn.Module, example: Tensor) -> tuple[Any, list[Any]]:
    """torch-pruning's dependency graph and its groups of all channels."""
    with ModuleTracker(model) as current:
        # With a forward_fn of ours: its own way is to unpack the example, swallow the error and try again.
        def forward(network: nn.Module, images: Tensor) -> Any:
            outputs = network(images)
            current.name = ""
            return outputs

        try:
            graph = tp.DependencyGraph().build_dependency(model, example, forward_fn=forward, verbose=False)
            return graph, list(graph.get_all_groups())
        except (
            Exception
        ) as error:  # a network that torch-pruning does not understand can make it fail in any way
            where = f"in module {current.name!r}" if current.name else "from what its forward pass did"
            raise CompressionError(
                f"the network cannot be traced for pruning ({type(error).__name__} {where}: "
                f"{' '.join(str(error).split())}); prune another architecture"
            ) from error


def _is_kept(graph: Any, traced: Any, names: Names, ignored: set[str]) -> bool:
    """Whether a group holds the network's own outputs, or outputs of an ignored module."""
    for dependency, _ in traced:
        if not graph.is_out_channel_pruning_fn(dependency.handler):
            continue
        if not dependency.target.outputs or names.get(dependency.layer) in ignored:
            return True
    return False


def _require_two_channels(group: ChannelGroup) -> ChannelGroup:
    """The group.

    Raises _NotPrunable if it is one channel: of an attention with one head, of a group per channel.
    """
    if group.channels == 1:
        raise _NotPrunable("they can only go together")
    return group


def _to_group(traced: Any, names: Names, graph: Any) -> ChannelGroup:
    """Raises _NotPrunable if a plan cannot cut one of the group's members."""
    root = names[traced[0].dep.layer]
    attention, _, layer = root.rpartition(".")
    module = graph.model.get_submodule(attention)
    if layer == "qkv" and has_heads(module):
        return _head_group(attention, module, traced)
    outputs = len(traced[0].idxs)
    repeats = math.lcm(*_conv_groups(traced, names, outputs))
    channels = outputs // repeats
    members = tuple(_members(traced, names, graph, channels))
    return ChannelGroup(root=root, channels=channels, repeats=repeats, members=members, traced=traced)


def _head_group(name: str, attention: Any, traced: Any) -> ChannelGroup:
    """The heads of an attention: rows of q, k and v, block by block, and columns of the projection."""
    heads, width = attention.num_heads, attention.head_dim
    rows, columns = torch.arange(3 * heads * width), torch.arange(heads * width)
    members = (
        Member(name, "out", torch.arange(heads), torch.arange(heads)),
        Member(f"{name}.qkv", "out", rows, columns.repeat(3) // width),
        Member(f"{name}.proj", "in", columns, columns // width),
    )
    layers = copy.copy(traced)  # without the norms of q and k, whose channels are not those of the heads
    layers._group = [item for item in traced if item.dep.layer in (attention.qkv, attention.proj)]
    return ChannelGroup(f"{name}.qkv", heads, repeats=3, members=members, traced=layers, width=width)


def _conv_groups(traced: Any, names: Names, outputs: int) -> Iterator[int]:
    """The number of groups of each grouped (not depthwise) convolution that a group of channels touches."""
    for dependency, positions in traced:
        conv = dependency.layer
        if not isinstance(conv, nn.Conv2d) or conv.groups in (1, conv.out_channels):
            continue
        if len(positions) != outputs or outputs % conv.groups:
            raise _NotPrunable(f"{names[conv]!r} is a grouped convolution over a concatenation")
        yield conv.groups


def _members(traced: Any, names: Names, graph: Any, channels: int) -> Iterator[Member]:
    for item in traced:
        layer = item.dep.layer
        if isinstance(layer, nn.Parameter):
            name = graph._param_to_name[layer]
            if channel_dim(layer) is None:
                raise _NotPrunable(
                    f"{name!r} is a parameter outside any layer, of the shape {tuple(layer.shape)}"
                )
        elif layer not in names:
            continue  # a traced operation (add, concat, view), which holds nothing
        elif isinstance(layer, SUPPORTED):
            name = names[layer]
        elif next(layer.parameters(), None) is None:
            continue
        else:
            raise _NotPrunable(f"{names[layer]!r} is a {type(layer).__name__}, which a plan cannot cut")
        if None in item.root_idxs:
            raise _NotPrunable(f"{name!r} follows them in a way that the dependency graph does not know")
        side: ChannelSide = (
            "in" if item.dep.handler in (tp.prune_conv_in_channels, tp.prune_linear_in_channels) else "out"
        )
        yield Member(name, side, torch.tensor(item.idxs), torch.tensor(item.root_idxs) % channels)


def position_sums(module: nn.Module, side: ChannelSide, values: Tensor) -> Tensor:
    """One sum for each output, or each input, of a module, over values that are shaped like its weight.

    Weights are (out, in / groups, ...) in layers, and (channels) in norms, whose outputs are their inputs.
    """
    if values.ndim == 1:
        return values
    if side == "out":
        return values.flatten(1).sum(1)
    groups = getattr(module, "groups", 1)
    by_group = values.reshape(groups, values.shape[0] // groups, values.shape[1], -1)
    return by_group.sum((1, 3)).flatten()


def _outputs_text(traced: Any, names: Names, graph: Any, order: Mapping[str, int]) -> str:
    """The first module whose outputs a group holds, and how many others there are."""
    layers = {dep.layer for dep, _ in traced if graph.is_out_channel_pruning_fn(dep.handler)}
    outputs = sorted(
        (names[layer] for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)), key=order.__getitem__
    )
    return outputs[0] if len(outputs) == 1 else f"{outputs[0]} and {len(outputs) - 1} others"


def _keep_runnable(
    model: nn.Module, example: Tensor, groups: list[ChannelGroup]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """The groups without one channel of which the network still runs, and why the others stay whole.

    A forward pass may know numbers of channels that no graph shows. One channel is what no such number
    divides.
    """
    if _failure_when_cut(model, example, groups) is None:
        return groups, {}
    reasons = {group.root: _failure_when_cut(model, example, [group]) for group in groups}
    not_pruned = {root: reason for root, reason in reasons.items() if reason is not None}
    return [group for group in groups if group.root not in not_pruned], not_pruned


def _failure_when_cut(model: nn.Module, example: Tensor, groups: list[ChannelGroup]) -> str | None:
    """Why the model cannot lose the first channel of each group, or does not run then; else None."""
    cut = copy.deepcopy(model)
    with torch.no_grad(), ModuleTracker(cut) as current:
        try:
            apply_plan(cut, to_plan(model, groups, [torch.tensor([0])] * len(groups)))(example)
        except Exception as error:  # a forward pass of another library can fail in any way
            where = f"module {current.name!r}: " if current.name else ""
            return f"without one of them the network does not run: {where}{' '.join(str(error).split())}"
    return None
