"""Quantization-aware training: layers that round as the int8 file will (Jacob et al. 2018, arXiv 1712.05877).

Weights are rounded per output channel, symmetric about 0, activations per tensor to 0..255, over a range that
follows the data as a moving average. Gradients pass rounding as if it were not there, and stop outside the
range (straight-through). A batch norm behind a layer only scales its output channels, so rounding the weights
before it is folded in is the same. Activations are rounded at the places at which quantize/quantizers.py has
onnxruntime quantize: what enters a convolution or linear layer, and what leaves it behind the batch norm and
the ReLU that follow. The learned ranges go into model.json, and from there into the file.

Not torchao's PT2E: the graph it trains has names of its own, which plans, checkpoints and model.json would
have to translate, and it rounds where another backend than onnxruntime does.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.train.params import QuantizationAwareParams

RANGE_MOMENTUM = 0.1
"""Momentum of the moving average, that of batch norm's statistics, which move with the ranges."""
NORMS_FREEZE = 0.5
"""Share of the rounded steps after which batch norms keep the statistics that will be deployed."""
LARGEST_LEVEL = 255
SMALLEST_SCALE = 1e-12
FOLDED = (nn.BatchNorm2d,)
CLAMPING = (nn.ReLU, nn.ReLU6)


class Rounding(nn.Module):
    """Rounds a tensor to 8 bits over the range that it has followed; follows in training mode alone.

    key: the layer and the side, ":in" or ":out", as model.json names the range. rounding: whether it does
    anything yet.
    """

    range: Tensor

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.rounding = False
        self.register_buffer("range", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._follow(x.detach())
        if not self.rounding:
            return x
        lowest, highest = self.range.unbind()
        scale = ((highest - lowest) / LARGEST_LEVEL).clamp(min=SMALLEST_SCALE)
        zero = torch.round(-lowest / scale).clamp(0, LARGEST_LEVEL).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, LARGEST_LEVEL).to(x.dtype)

    def _follow(self, x: Tensor) -> None:
        seen = torch.stack([x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)]).to(self.range.dtype)
        fresh = (self.range == 0.0).all()
        self.range.copy_(torch.where(fresh, seen, torch.lerp(self.range, seen, RANGE_MOMENTUM)))


class RoundedConv2d(nn.Conv2d):
    rounded_to: int | None = None
    """Largest level of a weight; None leaves weights as they are."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._conv_forward(x, rounded(self.weight, self.rounded_to), self.bias)
        return result


class RoundedLinear(nn.Linear):
    rounded_to: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, rounded(self.weight, self.rounded_to), self.bias)


LAYERS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: RoundedConv2d, nn.Linear: RoundedLinear}


def rounded(weight: Tensor, largest: int | None) -> Tensor:
    """A weight (out, ...) on its channels' grids of -largest..largest levels."""
    if largest is None:
        return weight
    scale_O = (weight.detach().flatten(1).abs().amax(dim=1) / largest).clamp(min=SMALLEST_SCALE)
    zero_O = torch.zeros_like(scale_O, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale_O, zero_O, 0, -largest, largest)


def insert(model: nn.Module, example: Tensor) -> None:
    """Make layers round, once schedule() says so, with Rounding modules beside them, in place; names stay."""
    ends, inner = _watch(model, example)
    for name, end in ends.items():
        layer = model.get_submodule(name)
        layer.__class__ = LAYERS[type(layer)]
        end.add_module("out_range", Rounding(f"{name}:out").to(example.device))
        end.register_forward_hook(_round_output)
        if name not in inner:
            layer.add_module("in_range", Rounding(f"{name}:in").to(example.device))
            layer.register_forward_pre_hook(_round_input)


def schedule(model: nn.Module, step: int, num_steps: int, params: QuantizationAwareParams) -> None:
    """Switch rounding on, and batch norms off, as the step says; called before each, so nothing is saved."""
    rounding = step >= params.start * num_steps
    frozen = step >= (params.start + (1.0 - params.start) * NORMS_FREEZE) * num_steps
    largest = 64 if params.reduce_range else 127
    for module in model.modules():
        if isinstance(module, Rounding):
            module.rounding = rounding
        elif isinstance(module, RoundedConv2d | RoundedLinear):
            module.rounded_to = largest if rounding else None
        elif isinstance(module, nn.BatchNorm2d) and frozen:
            module.eval()


def follow_data(model: nn.Module) -> None:
    """Let all ranges follow the data, also those of modules that are frozen."""
    for _, rounding in roundings(model):
        rounding.train()


def roundings(model: nn.Module) -> Iterator[tuple[str, Rounding]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Rounding))


def split(model: nn.Module, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """The weights of the network without rounding, and the learned ranges by key, from a state of `model`."""
    places = {f"{name}.range": rounding.key for name, rounding in roundings(model)}
    weights = {name: tensor for name, tensor in tensors.items() if name not in places}
    return weights, {key: tensors[name].tolist() for name, key in places.items()}


def _round_output(module: nn.Module, _: object, output: Tensor) -> Tensor:
    result: Tensor = module.get_submodule("out_range")(output)
    return result


def _round_input(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    result: Tensor = module.get_submodule("in_range")(*inputs)
    return result


class Pass(NamedTuple):
    """One call of a module without children."""

    name: str
    module: nn.Module
    read: Tensor
    made: Tensor


def _watch(model: nn.Module, example: Tensor) -> tuple[dict[str, nn.Module], set[str]]:
    """The module at whose output each layer that can round ends, and the layers that read such an end.

    Raises TrainingError for a module that runs twice: it cannot have the ranges of both.
    """
    # 1. Run the network once in eval mode, and note what each module without children reads and makes.
    passes: list[Pass] = []

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not inputs or not isinstance(output, Tensor):
            return output  # of a recurrent module or the like, beside which nothing is rounded
        passes.append(Pass(name, module, inputs[0], made := output.detach()))
        return made  # a tensor of its own, also behind modules that work in place

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    hooks = [
        leaf.register_forward_hook(partial(note, name))
        for name, leaf in leaves
        if not isinstance(leaf, nn.Identity)
    ]
    modes = {module: module.training for module in model.modules()}
    with torch.no_grad():
        model.eval()(example)
    for hook in hooks:
        hook.remove()
    for module, training in modes.items():
        module.training = training
    # 2. A layer ends behind the batch norm and the ReLU that alone read it, if there are any.
    ends = {found.name: _end(passes, found) for found in passes if type(found.module) in LAYERS}
    calls = Counter(found.name for found in passes)
    twice = [name for layer, end in ends.items() for name in (layer, end.name) if calls[name] > 1]
    if twice:
        raise TrainingError(
            f"quantization_aware: module {twice[0]!r} runs more than once in a pass; use one module per place"
        )
    # 3. A layer that reads what another one ends with needs no rounding of its own before it.
    made = [end.made for end in ends.values()]
    inner = {found.name for found in passes if any(found.read is tensor for tensor in made)} & set(ends)
    return {name: end.module for name, end in ends.items()}, inner


def _end(passes: list[Pass], layer: Pass) -> Pass:
    """The batch norm and the ReLU behind a layer, as far as there are any."""
    folded = _only_reader(passes, layer, FOLDED) or layer
    return _only_reader(passes, folded, CLAMPING) or folded


def _only_reader(passes: list[Pass], before: Pass, kinds: tuple[type[nn.Module], ...]) -> Pass | None:
    readers = [found for found in passes if found.read is before.made]
    return readers[0] if len(readers) == 1 and isinstance(readers[0].module, kinds) else None
