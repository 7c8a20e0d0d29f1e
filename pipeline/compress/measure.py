"""The measurements of the stage `profile`, on networks with random weights: how long they take does not depend on weights."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compress.cost import example, input_shape
from pipeline.compress.latency_table import LatencyTable, LayerTimes, Profile, RoundingTrial, SideTimes, Terms, Trial, Widths
from pipeline.compress.params import ShapeParams
from pipeline.compress.search import Limits, removable, select
from pipeline.compress.timing import Device, LayerShape, fractions, turn_s
from pipeline.compress.widths import Layer, Measure, latency_measure, layers_of, macs_measure, params_measure, widths_of
from pipeline.errors import CompressionError
from pipeline.models.groups import ChannelGroup, prunable_weights, to_plan, trace_groups
from pipeline.models.nets.build import rebuild
from pipeline.models.nets.cut import apply_plan
from pipeline.models.spec import ModelSpec

ROUNDINGS = (1, 4, 8, 16, 32)
CLEARLY_FASTER = 0.97
"""A coarser rounding, which leaves less choice, must be faster by this."""
ROUNDS = 21
"""In which all networks have a turn."""
PASSES = 5
"""Over all layers of the table, so that a busy second of the machine meets a layer in one of them at most."""
MOST_WIDTHS = 64
"""Of one side of a layer that are timed; what lies between is interpolated."""
TRIALS = 10
SLOPES = (0.0, -0.5, 0.5)
"""Of the worth of channels, which themselves are worth 0 to 1, over half of the depth."""
AROUND = (0.9, 1.4)
"""Between which multiples of the target the trials lie."""
DENSE_WEIGHT = 3.0
RIDGE = 0.05
"""How hard the fit is held to the bare sum of the layers, and what the dense network, which is 1 by definition, counts for.
With 8 trials a fit without it was as good, with 4 worse by half (ResNet-18 and ResNet-20 at batch 1)."""


@dataclass(frozen=True)
class Subject:
    """A dense network with random weights, and what of it can be cut."""

    spec: ModelSpec
    dense: nn.Module
    groups: list[ChannelGroup]
    layers: dict[str, Layer]
    params: ShapeParams

    @classmethod
    def of(cls, spec: ModelSpec, params: ShapeParams) -> "Subject":
        dense = rebuild(spec).eval()
        groups = trace_groups(copy.deepcopy(dense), example(spec), params.ignored)
        return cls(spec, dense, groups, layers_of(dense, input_shape(spec)), params)

    def cut(self, cost: Measure, fraction: float, round_to: int, seed: int) -> nn.Module:
        """The network without channels chosen at random. Raises CompressionError as select()."""
        limits = Limits(fraction, self.params.scope, round_to, self.params.max_ratio)
        return self._without(select(self.groups, self._scores(seed), self.layers, cost, limits))

    def smallest(self, round_to: int) -> nn.Module:
        """The network without any channel that may go."""
        return self._without(removable(self.groups, Limits(0.0, self.params.scope, round_to, self.params.max_ratio)))

    def widths(self, model: nn.Module) -> Widths:
        return widths_of(layers_of(model, input_shape(self.spec)))

    def _without(self, removed: Sequence[Tensor]) -> nn.Module:
        return apply_plan(copy.deepcopy(self.dense), to_plan(self.dense, self.groups, removed))

    def _scores(self, seed: int) -> list[Tensor]:
        """At random, and by turns the worth of channels falls with their layer's depth, is alike, or rises.

        Networks that are all cut evenly do not tell the terms of a fit apart: one that had lost most of its last layers
        then took 0.40 of the time instead of the predicted 0.49.
        """
        generator = torch.Generator().manual_seed(seed)
        slope = SLOPES[seed % len(SLOPES)]
        depths = torch.linspace(-1.0, 1.0, len(self.groups)).tolist()
        return [
            torch.rand(group.channels, generator=generator) + 0.5 * torch.rand(1, generator=generator) + slope * depth
            for group, depth in zip(self.groups, depths, strict=True)
        ]


def check(spec: ModelSpec, params: ShapeParams, round_to: int) -> None:
    """Raises CompressionError where the network cannot be traced, or cut to a target of MACs or parameters."""
    subject = Subject.of(spec, params)
    subject.cut(_counted(subject), params.target.fraction, round_to, seed=0)


def check_names(spec: ModelSpec, ignored: list[str]) -> None:
    """Raises CompressionError where weights of an unknown module, or all weights, are to be ignored."""
    prunable_weights(rebuild(spec), ignored)


def measure(spec: ModelSpec, params: ShapeParams, device: Device) -> Profile:
    """As make_profile()."""
    subject = Subject.of(spec, params)
    roundings: list[RoundingTrial] = []
    if params.round_to == "auto":
        roundings = try_roundings(subject, device)
        round_to = fastest(roundings, params.target.fraction)
    else:
        round_to = params.round_to
    table = measure_table(subject, device, round_to) if params.target.kind == "latency" else None
    return Profile(round_to=round_to, roundings=roundings, latency=table)


def try_roundings(subject: Subject, device: Device) -> list[RoundingTrial]:
    """A network of the target's cost (for a target of latency, of as many MACs) for each rounding that can reach it."""
    target, cost = subject.params.target, _counted(subject)
    cuts: dict[int, nn.Module] = {}
    for round_to in ROUNDINGS:
        try:
            cuts[round_to] = subject.cut(cost, target.fraction, round_to, seed=0)
        except CompressionError:
            if round_to == ROUNDINGS[0]:
                raise
    lowest = [subject.smallest(round_to) for round_to in cuts] if target.kind == "latency" else []
    runs = [device.network(subject.spec, model) for model in (subject.dense, *cuts.values(), *lowest)]
    measured = fractions(device, runs, ROUNDS)[1:]
    return [
        RoundingTrial(
            round_to=round_to,
            cost=round(cost.of(subject.widths(model)) / cost.dense, 4),
            latency=round(measured[index], 4),
            lowest=round(measured[len(cuts) + index], 4) if lowest else None,
        )
        for index, (round_to, model) in enumerate(cuts.items())
    ]


def fastest(trials: Sequence[RoundingTrial], target: float) -> int:
    """The rounding with the least latency for the same cost: a coarser one may have left less than the target.

    Raises CompressionError where none reaches a target of latency.
    """
    within = [trial for trial in trials if trial.lowest is None or trial.lowest < target]
    if not within:
        lowest = min(trial.lowest for trial in trials if trial.lowest is not None)
        raise CompressionError(
            f"prune.target: {target:.3f} of the dense latency is out of reach; with max_ratio and the ignored layers as they "
            f"are, {lowest:.3f} to 1.0 can be reached; raise the target or prune.max_ratio, or ignore fewer layers"
        )
    best = within[0]
    for trial in within[1:]:
        if trial.latency / trial.cost < CLEARLY_FASTER * best.latency / best.cost:
            best = trial
    return best.round_to


def measure_table(subject: Subject, device: Device, round_to: int) -> LatencyTable:
    """Time every layer alone, then networks cut at random as a whole, and fit the first to the second.

    Raises CompressionError where the target is out of reach.
    """
    target = subject.params.target
    modules, shapes = _distinct(subject)
    bare = LatencyTable(
        device=device.name,
        runtime=device.runtime,
        batch=target.batch or 1,
        modules=modules,
        times=_layer_times(device, shapes, round_to),
        fit=Terms(0.0, 1.0, 0.0, 0.0),
        trials=[],
        error=0.0,
    )
    terms, measured = _try(subject, device, bare, round_to)
    predicted = [fit(terms[:i] + terms[i + 1 :], measured[:i] + measured[i + 1 :]).dot(terms[i]) for i in range(len(terms))]
    trials = [Trial(predicted=round(a, 4), measured=round(b, 4)) for a, b in zip(predicted, measured, strict=True)]
    error = math.sqrt(sum((trial.predicted - trial.measured) ** 2 for trial in trials) / len(trials))
    table = bare.model_copy(update={"fit": fit(terms, measured), "trials": trials, "error": round(error, 4)})
    subject.cut(latency_measure(table, subject.layers), target.fraction, round_to, seed=0)
    return table


def fit(terms: Sequence[Terms], measured: Sequence[float]) -> Terms:
    """Weights with which the terms of networks give their measured fractions, with the least relative error.

    Ridge regression towards the bare sum of layers; the dense network, whose terms and fraction are 1, takes part.
    """
    prior = np.array(Terms(0.0, 1.0, 0.0, 0.0))
    relative = np.array(
        [DENSE_WEIGHT * np.ones(len(prior)), *(np.array(term) / of for term, of in zip(terms, measured, strict=True))]
    )
    right = np.array([DENSE_WEIGHT, *np.ones(len(measured))]) - relative @ prior
    change = np.linalg.lstsq(
        np.concatenate([relative, RIDGE * np.eye(len(prior))]), np.concatenate([right, np.zeros(len(prior))]), rcond=None
    )[0]
    return Terms(*(prior + change).tolist())


def _counted(subject: Subject) -> Measure:
    """What can be counted of the target's cost: parameters, or else MACs."""
    if subject.params.target.kind == "params":
        return params_measure(subject.dense, subject.layers)
    return macs_measure(subject.dense, input_shape(subject.spec), subject.layers)


def _try(subject: Subject, device: Device, table: LatencyTable, round_to: int) -> tuple[list[Terms], list[float]]:
    """Networks around the target: their terms, and their times as fractions of the dense one's."""
    cost, target = latency_measure(table, subject.layers), subject.params.target.fraction
    lowest = table.fraction(subject.widths(subject.smallest(round_to)))
    first, last = (min(1.0, max(lowest, target * factor)) for factor in AROUND)
    aims = np.linspace(first, last, TRIALS).tolist()
    models = [subject.cut(cost, aim, round_to, seed) for seed, aim in enumerate(aims)]
    runs = [device.network(subject.spec, model) for model in (subject.dense, *models)]
    return [table.terms(subject.widths(model)) for model in models], fractions(device, runs, ROUNDS)[1:]


@dataclass(frozen=True)
class _Whole:
    """A distinct layer at its full widths."""

    shape: LayerShape
    out: int
    in_: int
    outputs: int
    weights: int


def _distinct(subject: Subject) -> tuple[dict[str, int], list[_Whole]]:
    """Index of each layer that does work, by module name, and the distinct layers."""
    found = _shapes(subject.dense, example(subject.spec))
    modules, wholes = {}, []
    for name, whole in found.items():
        if whole not in wholes:
            wholes.append(whole)
        modules[name] = wholes.index(whole)
    return modules, wholes


def _shapes(model: nn.Module, images_BCHW: Tensor) -> dict[str, _Whole]:
    found: dict[str, _Whole] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            found[name] = _conv(module, inputs[0], output)
        elif isinstance(module, nn.Linear):
            positions = output.numel() // len(images_BCHW) // module.out_features
            shape = LayerShape((), (), (), (), 1, (positions,))
            found[name] = _Whole(shape, module.out_features, module.in_features, positions, 1)

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(images_BCHW)
    for hook in hooks:
        hook.remove()
    return found


def _conv(conv: nn.Conv2d, images_BCHW: Tensor, output_BCHW: Tensor) -> _Whole:
    one_sided = conv.groups == conv.in_channels == conv.out_channels
    sides = conv._reversed_padding_repeated_twice  # also where padding is "same": width's two sides, then height's
    shape = LayerShape(
        kernel=conv.kernel_size,
        stride=conv.stride,
        padding=(sides[2], sides[0]),
        dilation=conv.dilation,
        groups=None if one_sided else conv.groups,
        size=tuple(images_BCHW.shape[2:]),
    )
    return _Whole(shape, conv.out_channels, conv.in_channels, output_BCHW[0, 0].numel(), conv.weight[0, 0].numel())


def _layer_times(device: Device, wholes: Sequence[_Whole], round_to: int) -> list[LayerTimes]:
    """Every layer's fastest turn at every width that rounding can leave of one of its sides."""
    points = [(whole, out, in_) for whole in wholes for out, in_ in _points(whole, round_to)]
    best = dict.fromkeys(points, math.inf)
    for _ in range(PASSES):
        for point in points:
            whole, out, in_ = point
            run = device.layer(whole.shape, out, in_)
            run()
            best[point] = min(best[point], round(turn_s(device, run) * 1e3, 6))
    return [_collect(whole, round_to, best) for whole in wholes]


def _points(whole: _Whole, round_to: int) -> list[tuple[int, int]]:
    if whole.shape.groups is None:
        return [(channels, channels) for channels in _widths(whole.out, whole.shape, round_to)]
    by_out = [(out, whole.in_) for out in _widths(whole.out, whole.shape, round_to)]
    return by_out + [(whole.out, in_) for in_ in _widths(whole.in_, whole.shape, round_to)[:-1]]


def _widths(channels: int, shape: LayerShape, round_to: int) -> list[int]:
    step = math.lcm(round_to, shape.groups or 1)
    step *= math.ceil(channels / step / MOST_WIDTHS)
    return [*range(step, channels, step), channels]


def _collect(whole: _Whole, round_to: int, ms: Mapping[tuple[_Whole, int, int], float]) -> LayerTimes:
    outs, ins = (_widths(channels, whole.shape, round_to) for channels in (whole.out, whole.in_))
    one_sided = whole.shape.groups is None
    return LayerTimes(
        out=SideTimes(channels=outs, ms=[ms[whole, out, out if one_sided else whole.in_] for out in outs]),
        in_=None if one_sided else SideTimes(channels=ins, ms=[ms[whole, whole.out, in_] for in_ in ins]),
        outputs=whole.outputs,
        weights=whole.weights,
    )
