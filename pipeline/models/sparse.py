"""Weights that were pruned one by one: zeros that stay zeros, stored as a bit for each position and the other values.

No library on a CPU or a GPU runs such a model faster without kernels made for it, so what gets smaller is the file alone.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

VALUES, BITS = ".values", ".bits"


def compact(tensors: dict[str, Tensor], sparse: Iterable[str]) -> dict[str, Tensor]:
    """Each tensor named in `sparse` as its other values (N,), row by row, and a bit per position (numel / 8, rounded up)."""
    packed = dict(tensors)
    for name in sparse:
        tensor = packed.pop(name).flatten()
        alive = tensor != 0
        packed[name + VALUES] = tensor[alive]
        packed[name + BITS] = torch.from_numpy(np.packbits(alive.numpy()))
    return dict(sorted(packed.items()))


def expand(packed: dict[str, Tensor], sparse: Iterable[str], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The inverse of compact(). Raises ValueError where bits, values and shape do not belong together."""
    tensors = dict(packed)
    for name in sparse:
        try:
            values, bits, shape = tensors.pop(name + VALUES), tensors.pop(name + BITS), shapes[name]
        except KeyError as error:
            raise ValueError(f"has no {error} for the sparse tensor {name!r}") from error
        size = math.prod(shape)
        if len(bits) != math.ceil(size / 8):
            raise ValueError(f"{name!r} has bits for {8 * len(bits)} positions, and the network has {size}")
        alive = torch.from_numpy(np.unpackbits(bits.numpy(), count=size)).bool()
        if int(alive.sum()) != len(values):
            raise ValueError(f"{name!r} has {len(values)} values for {int(alive.sum())} positions")
        tensors[name] = torch.zeros(size, dtype=values.dtype).masked_scatter_(alive, values).view(shape)
    return tensors


def pruned_positions(model: nn.Module, sparse: Iterable[str]) -> dict[str, Tensor]:
    """By parameter name, where the zeros are, as booleans of the parameter's shape and layout."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach() == 0 for name in sparse}
