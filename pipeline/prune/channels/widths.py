"""What a network costs as a function of its layers' widths, so that no candidate of a search is built."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.models.channels.groups import ChannelGroup, ChannelSide
from pipeline.models.cost import count_macs, count_params, module_macs
from pipeline.models.nets.attention import has_heads
from pipeline.prune.params import Kind

Widths = Mapping[str, tuple[int, int]]
"""Output and input channels of each layer, by module name."""


@dataclass(frozen=True)
class LayerCost:
    """A dense layer. `macs` and `weights` follow outputs and inputs, `vectors` (biases, norms) outputs.

    one_sided: inputs are outputs, as in a norm or a depthwise convolution; their cost follows the outputs
    once, not twice.
    """

    macs: int
    weights: int
    vectors: int
    out: int
    in_: int
    one_sided: bool

    def scaled(self, number: int, out: int, in_: int) -> int:
        """Its macs or weights at other widths: exact in integers, as the divisor is a factor of them."""
        kept = number * out // self.out
        return kept if self.one_sided else kept * in_ // self.in_


@dataclass(frozen=True)
class Measure:
    """A measure of networks. dense: of the dense one, in the unit of `of`; name: in words, for messages."""

    name: str
    dense: float
    of: Callable[[Widths], float]


def layer_costs(model: nn.Module, example: Tensor) -> dict[str, LayerCost]:
    """The layers that pruning can make cheaper, by module name. example: an input of one sample."""
    macs = module_macs(model, example)
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels == module.out_channels
            sizes = (module.out_channels, module.in_channels, depthwise)
        elif isinstance(module, nn.Linear):
            sizes = (module.out_features, module.in_features, False)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm) and module.weight is not None:
            sizes = (module.weight.shape[-1], module.weight.shape[-1], True)
        elif has_heads(module):  # the products between q, k and v, whose channels are heads
            found[name] = LayerCost(
                macs.get(name, 0), 0, 0, int(module.num_heads), int(module.num_heads), one_sided=True
            )
            continue
        else:
            continue
        numbers = [parameter.numel() for parameter in module.parameters(recurse=False) if parameter.dim() > 1]
        found[name] = LayerCost(macs.get(name, 0), sum(numbers), count_params(module) - sum(numbers), *sizes)
    return found


def counted_measure(
    kind: Kind, model: nn.Module, example: Tensor, layers: Mapping[str, LayerCost]
) -> Measure:
    """What can be counted of a target: parameters, or else MACs, by which networks to time are ordered."""
    return params_measure(model, layers) if kind == "params" else macs_measure(model, example, layers)


def macs_measure(model: nn.Module, example: Tensor, layers: Mapping[str, LayerCost]) -> Measure:
    """MACs of one sample; work outside layers stays as it is."""
    total = count_macs(model, example)
    rest = total - sum(layer.macs for layer in layers.values())
    return Measure(
        "MACs",
        total,
        lambda widths: rest + sum(layer.scaled(layer.macs, *widths[name]) for name, layer in layers.items()),
    )


def params_measure(model: nn.Module, layers: Mapping[str, LayerCost]) -> Measure:
    """Numbers that are trained; those outside layers stay as they are."""
    total = count_params(model)
    rest = total - sum(layer.weights + layer.vectors for layer in layers.values())

    def of(widths: Widths) -> int:
        scaled = (
            layer.scaled(layer.weights, *widths[name]) + layer.vectors * widths[name][0] // layer.out
            for name, layer in layers.items()
        )
        return rest + sum(scaled)

    return Measure("parameters", total, of)


class Narrowing:
    """Widths of the layers after each group has lost its first channels in an order of its own."""

    def __init__(
        self, layers: Mapping[str, LayerCost], groups: Sequence[ChannelGroup], orders: Sequence[Tensor]
    ) -> None:
        self._layers = layers
        self._lost = [_lost(group, order, layers) for group, order in zip(groups, orders, strict=True)]

    def widths(self, counts: Sequence[int]) -> Widths:
        """Widths after group i has lost counts[i] channels."""
        lost: dict[tuple[str, ChannelSide], int] = {}
        for sides, count in zip(self._lost, counts, strict=True):
            for key, after in sides:
                lost[key] = lost.get(key, 0) + after[count]
        return {
            name: (layer.out - lost.get((name, "out"), 0), layer.in_ - lost.get((name, "in"), 0))
            for name, layer in self._layers.items()
        }


def cost_per_channel(group: ChannelGroup, layers: Mapping[str, LayerCost], cost: Measure) -> float:
    """What a channel of a group takes of a measure of the dense network: the first stands for all."""
    order = torch.arange(group.channels)
    return cost.dense - cost.of(Narrowing(layers, [group], [order]).widths([1]))


def _lost(
    group: ChannelGroup, order: Tensor, layers: Mapping[str, LayerCost]
) -> list[tuple[tuple[str, ChannelSide], list[int]]]:
    """Positions that each side of a layer in the group has lost after 0, 1, 2 ... channels."""
    return [
        (
            (member.module, member.side),
            [0, *torch.bincount(member.channels, minlength=group.channels)[order].cumsum(0).tolist()],
        )
        for member in group.members
        if member.module in layers
    ]
