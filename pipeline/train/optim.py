"""Optimizer, learning rate schedule and moving average of weights."""

import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.train.params import OptimizerParams, ScheduleParams

ADAM_BETA2 = 0.999


def make_optimizer(model: nn.Module, params: OptimizerParams) -> Optimizer:
    """Two parameter groups: weights that decay, and norms and biases that don't."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": params.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if params.name == "adamw":
        return AdamW(groups, lr=params.lr, betas=(params.momentum, ADAM_BETA2), foreach=True)
    return SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.momentum > 0.0, foreach=True)


def lr_factor(step: int, num_steps: int, params: ScheduleParams) -> float:
    """Learning rate at `step` as a fraction of the peak; a pure function, so nothing of it needs saving."""
    num_warmup = round(params.warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup - 1)
    falling = 0.5 * (1.0 + math.cos(math.pi * progress)) if params.name == "cosine" else 1.0 - progress
    return params.final + (1.0 - params.final) * falling


def set_lr(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


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
