"""From a network that was cut and trained further back to the dense shape, for the next cut."""

import copy

import torch
from torch import nn

from pipeline.models.nets.cut import apply_plan
from pipeline.models.plan import Plan


def widen(dense: nn.Module, plan: Plan, narrow: nn.Module) -> nn.Module:
    """A copy of `dense` that computes what `narrow`, cut by `plan`, does: its numbers in their places, and zeros elsewhere.

    A channel that is gone comes out of its norm as zero. Layer norms alone would count it, so the outputs of a network
    whose layer norms were cut are not the same.
    """
    places = _places(dense, plan)
    wide = copy.deepcopy(dense)
    found = narrow.state_dict()
    with torch.no_grad():
        for name, tensor in wide.state_dict().items():
            if tensor.shape == found[name].shape:
                tensor.copy_(found[name])
                continue
            flat = torch.zeros(tensor.numel(), dtype=tensor.dtype)
            flat[places[name]] = found[name].flatten()
            tensor.copy_(flat.view(tensor.shape))
    return wide


def _places(dense: nn.Module, plan: Plan) -> dict[str, torch.Tensor]:
    """For each tensor of the cut network, where its numbers lie in the dense one's, row by row.

    Found by cutting a network that holds places instead of weights, in float64, which counts to 2**53 exactly.
    """
    numbered = copy.deepcopy(dense).double()
    with torch.no_grad():
        for tensor in numbered.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    cut = apply_plan(numbered, plan).state_dict()
    return {name: tensor.flatten().long() for name, tensor in cut.items()}
