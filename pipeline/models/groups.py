"""Channels that can only go together: a residual sum ties the outputs of several convolutions, and so on.

torch-pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900) finds them; here they become
plain index tables, so that search and plan need no tracing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.errors import CompressionError
from pipeline.models.probe import LastModule
from pipeline.models.pruning_library import torch_pruning as tp
from pipeline.params import nearest

Side = Literal["out", "in"]

SUPPORTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm)
"""Modules that a pruning plan can slice (models/cut.py)."""
SHOWN = 4
"""Modules that an error message lists at most."""


@dataclass(frozen=True)
class Member:
    """One side of a module: its position `positions[i]` goes when the group's channel `channels[i]` goes."""

    module: str
    side: Side
    positions: Tensor
    channels: Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed one by one, each from all members at once.

    repeats: a grouped convolution loses the same channel of each of its groups, so channel c stands for
    the outputs c, c + channels, c + 2 * channels ... of the root module.
    """

    root: str
    channels: int
    repeats: int
    members: tuple[Member, ...]
    traced: Any = field(repr=False, compare=False)

    def root_indices(self, removed: Tensor) -> list[int]:
        """Output indices of the root module for channels to remove."""
        offsets = torch.arange(self.repeats)[:, None] * self.channels
        return sorted((offsets + removed[None, :]).flatten().tolist())


def trace_groups(model: nn.Module, example_BCHW: Tensor, ignored: list[str]) -> list[ChannelGroup]:
    """The prunable groups of a model, in the order of its modules.

    Left out: the classifier's outputs, and groups in which an ignored module's outputs take part.
    Raises CompressionError for a model that cannot be traced, an unknown ignored name, and a group
    with a parameter that a plan cannot slice.
    """
    names = {module: name for name, module in model.named_modules()}
    _check_ignored(ignored, list(names.values()))
    graph, found = _trace(model, example_BCHW)
    prunable = [traced for traced in found if not _is_kept(graph, traced, names, set(ignored))]
    groups = [_to_group(traced, names, graph) for traced in prunable]
    order = {name: index for index, name in enumerate(names.values())}
    return sorted(groups, key=lambda group: order[group.root])


def _check_ignored(ignored: list[str], names: list[str]) -> None:
    for name in ignored:
        if name not in names or not name:
            raise CompressionError(f"prune.ignored: the model has no module {name!r}{nearest(name, [n for n in names if n])}")


def _trace(model: nn.Module, example_BCHW: Tensor) -> tuple[Any, list[Any]]:
    """torch-pruning's dependency graph and its groups of all channels."""
    with LastModule(model) as current:
        try:
            # With a forward_fn of ours: its own way is to unpack the example, swallow the error and try again.
            graph = tp.DependencyGraph().build_dependency(
                model, example_BCHW, forward_fn=lambda network, images: network(images), verbose=False
            )
            return graph, list(graph.get_all_groups())
        except Exception as error:  # a network that torch-pruning does not understand can make it fail in any way
            raise CompressionError(
                f"the network cannot be traced for pruning ({type(error).__name__}: {' '.join(str(error).split())}; "
                f"the last module entered was {current.name!r}); prune another architecture"
            ) from error


def _is_kept(graph: Any, traced: Any, names: dict[nn.Module, str], ignored: set[str]) -> bool:
    """Whether a group holds the network's own outputs, or outputs of an ignored module."""
    for dependency, _ in traced:
        if not graph.is_out_channel_pruning_fn(dependency.handler):
            continue
        if not dependency.target.outputs or names.get(dependency.layer) in ignored:
            return True
    return False


def _to_group(traced: Any, names: dict[nn.Module, str], graph: Any) -> ChannelGroup:
    outputs = len(traced[0].idxs)
    repeats = math.lcm(*_conv_groups(traced, names, outputs))
    root = names[traced[0].dep.layer]
    channels = outputs // repeats
    members = tuple(_members(traced, names, graph, channels))
    return ChannelGroup(root=root, channels=channels, repeats=repeats, members=members, traced=traced)


def _conv_groups(traced: Any, names: dict[nn.Module, str], outputs: int) -> Iterator[int]:
    """The number of groups of each grouped (not depthwise) convolution that a group of channels touches."""
    for dependency, positions in traced:
        conv = dependency.layer
        if not isinstance(conv, nn.Conv2d) or conv.groups in (1, conv.out_channels):
            continue
        if len(positions) != outputs or outputs % conv.groups:
            raise CompressionError(
                f"module {names[conv]!r} is a grouped convolution over a concatenation, which cannot be pruned; "
                f"add {names[traced[0].dep.layer]!r} to prune.ignored"
            )
        yield conv.groups


def _members(traced: Any, names: dict[nn.Module, str], graph: Any, channels: int) -> Iterator[Member]:
    for item in traced:
        layer = item.dep.layer
        parameters = [layer] if isinstance(layer, nn.Parameter) else list(layer.parameters())
        if not parameters and layer not in names:
            continue  # a traced operation (add, concat, view), which holds nothing
        if not isinstance(layer, SUPPORTED):
            raise CompressionError(_unsupported(layer, names, traced, graph))
        side: Side = "in" if item.dep.handler in (tp.prune_conv_in_channels, tp.prune_linear_in_channels) else "out"
        yield Member(names[layer], side, torch.tensor(item.idxs), torch.tensor(item.root_idxs) % channels)


def _unsupported(layer: Any, names: dict[nn.Module, str], traced: Any, graph: Any) -> str:
    name = graph._param_to_name[layer] if isinstance(layer, nn.Parameter) else names[layer]
    kind = "a parameter outside any layer" if isinstance(layer, nn.Parameter) else type(layer).__name__
    outputs = [names[dep.layer] for dep, _ in traced if graph.is_out_channel_pruning_fn(dep.handler) and dep.layer in names]
    roots = [root for root in names.values() if root in outputs][:SHOWN]
    shown = ", ".join(roots)
    return f"{name!r} ({kind}) cannot be pruned; add one module whose channels it follows to prune.ignored: {shown} ..."


def position_sums(module: nn.Module, side: Side, values: Tensor) -> Tensor:
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
