"""What a model costs: multiply-accumulates of one sample, parameters, bytes of its file."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Cost:
    """macs: of one sample; params: numbers that are trained; size_bytes: of the file that holds them."""

    macs: int
    params: int
    size_bytes: int


def measure_cost(model: nn.Module, example: Tensor, file: Path) -> Cost:
    """Cost of a model whose weights lie in `file`. example: an input of one sample."""
    return Cost(macs=count_macs(model, example), params=count_params(model), size_bytes=file.stat().st_size)


def count_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example: Tensor) -> int:
    """MACs for an input in convolutions, matrix products and attention; elementwise work is not counted."""
    return _count(model, example)[0]


def module_macs(model: nn.Module, example: Tensor) -> dict[str, int]:
    """MACs for an input, by the name of each module that does any itself, outside those that it holds."""
    return _count(model, example)[1]


def _count(model: nn.Module, example: Tensor) -> tuple[int, dict[str, int]]:
    # Batch norms would refuse, or learn from, a single image.
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    first = next(copied.parameters())
    # Attention by matrix products: no kernel of its own for a CPU is known to the counter (torch 2.14).
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        copied(example.to(device=first.device, dtype=first.dtype))
    macs = {name: sum(ops.values()) // FLOPS_PER_MAC for name, ops in counter.get_flop_counts().items()}
    root = type(model).__name__
    own = {}
    for name, module in model.named_modules():
        path = f"{root}.{name}" if name else root
        own[name] = macs.get(path, 0) - sum(
            macs.get(f"{path}.{child}", 0) for child, _ in module.named_children()
        )
    return counter.get_total_flops() // FLOPS_PER_MAC, {name: count for name, count in own.items() if count}
