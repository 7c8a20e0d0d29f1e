"""What a model costs: multiply-accumulates of one image, parameters, bytes of its file."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.description.spec import ModelSpec

FLOPS_PER_MAC = 2
TRACED_IMAGES = 2
"""Images in the batch that traces and verifies."""


@dataclass(frozen=True)
class Cost:
    """macs: of one image; params: numbers that are trained; size_bytes: of the file that holds them."""

    macs: int
    params: int
    size_bytes: int


def input_shape(spec: ModelSpec) -> tuple[int, int, int]:
    """(C, H, W) of an image."""
    return spec.architecture.channels, spec.architecture.image_height, spec.architecture.image_width


def example(spec: ModelSpec) -> Tensor:
    """A small batch of noise, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(TRACED_IMAGES, *input_shape(spec), generator=generator)


def measure_cost(model: nn.Module, shape_CHW: tuple[int, int, int], file: Path) -> Cost:
    """Cost of a model whose weights lie in `file`."""
    return Cost(macs=count_macs(model, shape_CHW), params=count_params(model), size_bytes=file.stat().st_size)


def count_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, shape_CHW: tuple[int, int, int]) -> int:
    """MACs of one image in convolutions, matrix products and attention; elementwise work is not counted."""
    return _count(model, shape_CHW)[0]


def module_macs(model: nn.Module, shape_CHW: tuple[int, int, int]) -> dict[str, int]:
    """MACs of one image by module name, for the modules that do any themselves, outside the modules they
    hold.
    """
    return _count(model, shape_CHW)[1]


def _count(model: nn.Module, shape_CHW: tuple[int, int, int]) -> tuple[int, dict[str, int]]:
    # Batch norms would refuse, or learn from, a single image.
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    first = next(copied.parameters())
    # Attention by matrix products: no kernel of its own for a CPU is known to the counter (torch 2.14).
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        copied(torch.zeros(1, *shape_CHW, dtype=first.dtype, device=first.device))
    macs = {name: sum(ops.values()) // FLOPS_PER_MAC for name, ops in counter.get_flop_counts().items()}
    root = type(model).__name__
    own = {}
    for name, module in model.named_modules():
        path = f"{root}.{name}" if name else root
        own[name] = macs.get(path, 0) - sum(
            macs.get(f"{path}.{child}", 0) for child, _ in module.named_children()
        )
    return counter.get_total_flops() // FLOPS_PER_MAC, {name: count for name, count in own.items() if count}
