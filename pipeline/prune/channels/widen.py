"""The way back from a network that was cut and trained further to the dense shape, for the next cut."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.models.description.plan import Plan
from pipeline.models.nets.cut import apply_plan


def widen(dense: nn.Module, plan: Plan, narrow: nn.Module) -> nn.Module:
    """A copy of `dense` with the numbers of `narrow`, cut by `plan`, in their places, and zeros elsewhere.

    It computes what `narrow` does, since a channel that is gone comes out of its norm as zero, except of a
    layer norm that was cut: it counts it.
    """
    wide = copy.deepcopy(dense)
    wide.load_state_dict(widen_tensors(dense, plan, narrow.state_dict()))
    return wide


def widen_tensors(dense: nn.Module, plan: Plan, narrow: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network cut by `plan`, named as in its state, in `dense`'s shapes, else zero."""
    places, wide = _places(dense, plan), dense.state_dict()
    return {name: _spread(tensor, places[name], wide[name]) for name, tensor in narrow.items()}


def _spread(narrow: Tensor, places: Tensor, wide: Tensor) -> Tensor:
    flat = torch.zeros(wide.numel(), dtype=narrow.dtype)
    flat[places] = narrow.detach().flatten()
    return flat.view(wide.shape)


def _places(dense: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """Places of the numbers of each tensor of the cut network in the dense one's, row by row.

    Found by cutting a network that holds places instead of weights, in float64, which counts to 2**53
    exactly.
    """
    numbered = copy.deepcopy(dense).double()
    with torch.no_grad():
        for tensor in numbered.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    cut = apply_plan(numbered, plan).state_dict()
    return {name: tensor.flatten().long() for name, tensor in cut.items()}
