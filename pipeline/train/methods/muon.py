"""Momentum with orthogonalised updates for convolutions."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic whose repetition drives singular values to 1, chosen for small ones."""
ITERATIONS = 3


class Muon(Optimizer):
    """Nesterov momentum; a convolution's update is brought to the nearest orthogonal matrix (Jordan et al.
    2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon).

    A convolution's weight is held at the norm sqrt(output channels), so that `lr` is the relative length of a
    step. That presumes a norm behind each convolution, which makes the weight's scale meaningless. All other
    parameters take plain steps of Nesterov SGD, with weight decay.

    groups: each with its `lr` and `weight_decay`.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        lr, momentum, is_filter = group["lr"], group["momentum"], parameter.ndim == 4
        if not is_filter and group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if not state:  # setdefault would make zeros at every step
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        update = gradient.add(buffer, alpha=momentum)
        if is_filter:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
            update = orthogonalised(update.flatten(1)).view_as(parameter)
        parameter.add_(update, alpha=-lr)


def orthogonalised(matrix_MN: Tensor) -> Tensor:
    """A matrix with the given one's singular vectors and singular values near 1, by Newton-Schulz iteration.

    In bfloat16, which is exact enough for a direction.
    """
    a, b, c = COEFFICIENTS
    wide = len(matrix_MN) <= matrix_MN.shape[1]
    x = (matrix_MN if wide else matrix_MN.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal_MN: Tensor = x if wide else x.T
    return orthogonal_MN.to(matrix_MN.dtype)
