"""Optimizer, learning rate schedule and moving average of weights."""

import math
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.base.params import nearest
from pipeline.errors import TrainingError
from pipeline.train.methods.muon import Muon
from pipeline.train.params import OptimizerParams, ScheduleParams

ADAM_BETA2 = 0.999
FACTOR = "lr_factor"
"""Key of a parameter group: what its learning rate is multiplied by."""
WAITS = "waits"
"""Key of a parameter group: whether it waits until the head fits what is there."""
NUMBERED = re.compile(r"([^.]+\.)*?\d+(\.\d+)*(?=\.)")
"""The first part of a parameter's name that ends in numbers."""


def make_optimizer(
    model: nn.Module,
    params: OptimizerParams,
    adapters: Iterable[nn.Parameter] = (),
    head: str | None = None,
) -> Optimizer:
    """Groups of parameters with equal rate and weight decay, which only those of 2 or more dimensions have.

    adapters: weights that are trained beside the model's, at the plain rate. head: the module that learns
    before the rest does, if one shall.
    Raises TrainingError for a pattern of `lr_factors` that no parameter fits.
    """
    groups = _groups(model, params, adapters, head)
    if params.name == "adamw":
        return AdamW(groups, lr=params.lr, betas=(params.momentum, ADAM_BETA2), fused=True)
    if params.name == "muon":
        return Muon(groups, lr=params.lr, momentum=params.momentum)
    return SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.momentum > 0.0, fused=True)


def _groups(
    model: nn.Module, params: OptimizerParams, adapters: Iterable[nn.Parameter], head: str | None
) -> list[dict[str, Any]]:
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for pattern in params.lr_factors:
        if not any(fnmatchcase(name, pattern) for name in trained):
            raise TrainingError(
                "optimizer.lr_factors: no trained parameter's name fits "
                f"{pattern!r}{nearest(pattern, [*trained])}"
            )
    below_last = _layers_below_last([name for name, _ in model.named_parameters()])
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        patterns = (params.lr_factors[pattern] for pattern in params.lr_factors if fnmatchcase(name, pattern))
        factor = next(patterns, 1.0) * (params.layer_decay or 1.0) ** below_last[name]
        decay = params.weight_decay if parameter.ndim > 1 else 0.0
        waits = head is not None and not name.startswith(f"{head}.")
        groups.setdefault((decay, factor, waits), []).append(parameter)
    for weight in adapters:
        groups.setdefault((params.weight_decay, 1.0, False), []).append(weight)
    return [
        {"params": members, "weight_decay": decay, FACTOR: factor, WAITS: waits}
        for (decay, factor, waits), members in groups.items()
    ]


def _layers_below_last(names: Sequence[str]) -> dict[str, int]:
    """How many layers lie between each parameter and the last layer, in the order of the model.

    A layer is what stands under one number, `stages.0.1` or `blocks.3`, or what stands under none between two
    such: the stem, the head (timm's layers, but for a final norm without a number).
    """
    layers: list[str] = []
    numbers = []
    for name in names:
        found = NUMBERED.match(name)
        layer = found.group() if found else ""
        if layer not in layers[-1:] and (layer == "" or layer not in layers):
            layers.append(layer)
        numbers.append(layers.index(layer) if layer else len(layers) - 1)
    return {name: len(layers) - 1 - number for name, number in zip(names, numbers, strict=True)}


def lr_factor(step: int, num_steps: int, params: ScheduleParams) -> float:
    """Learning rate at `step` as a fraction of the peak; a pure function, so nothing of it needs saving."""
    num_warmup = round(params.warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup - 1)
    falling = 0.5 * (1.0 + math.cos(math.pi * progress)) if params.name == "cosine" else 1.0 - progress
    return params.final + (1.0 - params.final) * falling


def waiting_factor(step: int, num_steps: int, num_waiting: int, params: ScheduleParams) -> float:
    """lr_factor() of what waits for so many steps at first, and then begins the schedule in those left."""
    if step < num_waiting:
        return 0.0
    return lr_factor(step - num_waiting, num_steps - num_waiting, params)


def set_lr(optimizer: Optimizer, lr: float, waiting_lr: float) -> None:
    """Set the learning rates of all groups. waiting_lr: of those that wait for the head."""
    for group in optimizer.param_groups:
        group["lr"] = (waiting_lr if group[WAITS] else lr) * group[FACTOR]


class Ema:
    """Exponential moving average of a model's weights and float buffers, held in a copy of the model.

    The decay rises with the step as min(decay, (1 + step) / (10 + step)), so that a short run is not
    dominated by its random start (TensorFlow's ExponentialMovingAverage with num_updates).
    """

    def __init__(self, model: nn.Module, averaged: nn.Module, decay: float) -> None:
        self.averaged = averaged
        self._decay = decay
        pairs = list(zip(averaged.state_dict().values(), model.state_dict().values(), strict=True))
        self._floats = [(a, m) for a, m in pairs if a.is_floating_point()]
        self._others = [(a, m) for a, m in pairs if not a.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        averages: list[Tensor] = [a for a, _ in self._floats]
        torch._foreach_lerp_(averages, [m for _, m in self._floats], 1.0 - decay)
        for average, value in self._others:
            average.copy_(value)
