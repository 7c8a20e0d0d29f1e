"""Rank, world size and sums over ranks; the same answers without a process group (rank 0 of 1)."""

import re

import torch
import torch.distributed as dist
from torch import Tensor, nn

PASSING = (OSError, MemoryError, dist.DistError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors of a node, of its devices and of the way between nodes, which another attempt may not meet."""
PASSING_TEXT = re.compile(
    r"gloo|nccl|cuda error|cudnn error|cublas|out of memory|can't allocate memory|timed out", re.IGNORECASE
)
"""Text of a RuntimeError that tells such an error, as gloo's do."""


def may_pass(error: BaseException) -> bool:
    """Whether an error is of a node or a connection.

    All others are met again by whoever computes the same.
    """
    return isinstance(error, PASSING) or (
        type(error) is RuntimeError and PASSING_TEXT.search(str(error)) is not None
    )


def rank() -> int:
    return dist.get_rank() if _is_distributed() else 0


def world_size() -> int:
    return dist.get_world_size() if _is_distributed() else 1


def all_sum(tensor: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, in place; metrics cross ranks as sums and are divided once."""
    if _is_distributed():
        dist.all_reduce(tensor)
    return tensor


def all_min(tensor: Tensor) -> Tensor:
    """Smallest value over all ranks, in place."""
    if _is_distributed():
        dist.all_reduce(tensor, op=dist.ReduceOp.MIN)
    return tensor


def gather_ranks(tensor: Tensor) -> Tensor:
    """The tensors of all ranks, stacked by rank, on every rank."""
    if not _is_distributed():
        return tensor[None].clone()
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)


def from_first(value: int, device: str) -> int:
    """Rank 0's value, on every rank."""
    if not _is_distributed():
        return value
    shared = torch.tensor(value, device=device)
    dist.broadcast(shared, src=0)
    return int(shared)


def broadcast_buffers(module: nn.Module) -> None:
    """Give every rank rank 0's buffers (batch-norm statistics differ between ranks after a step)."""
    if not _is_distributed():
        return
    for buffer in module.buffers():
        dist.broadcast(buffer, src=0)


def barrier() -> None:
    if _is_distributed():
        dist.barrier()


def shard(size: int) -> slice:
    """This rank's contiguous part of `size` items; parts differ by at most one item."""
    parts = torch.tensor_split(torch.arange(size), world_size())
    mine = parts[rank()]
    start = sum(len(part) for part in parts[: rank()])
    return slice(start, start + len(mine))


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
