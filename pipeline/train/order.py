"""Which samples form a step: a pure function of (seed, epoch), whatever the number of workers."""

import hashlib

import torch
from torch import Tensor

from pipeline.errors import TrainingError


def mix(*parts: int | str) -> int:
    """A 63-bit seed for a random stream named by `parts`; equal parts, equal stream, on any machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def num_batches(num_images: int, global_batch_size: int) -> int:
    return -(-num_images // global_batch_size)


def epoch_batches(num_images: int, global_batch_size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """Row indices of every global batch of an epoch: each row once, in batches of nearly equal size.

    The rows are cut evenly (sizes differ by at most one) instead of leaving a small rest, on which
    batch norm would compute poor statistics.
    """
    generator = torch.Generator().manual_seed(mix("order", seed, epoch))
    return torch.randperm(num_images, generator=generator).tensor_split(num_batches(num_images, global_batch_size))


def check_batches(num_images: int, global_batch_size: int, world_size: int, accumulate: int) -> None:
    """Raises TrainingError, before the first batch, where some worker would get an empty part."""
    if global_batch_size > num_images:
        raise TrainingError(
            f"global_batch_size is {global_batch_size}, but the training split has {num_images} images; lower it"
        )
    smallest = num_images // num_batches(num_images, global_batch_size)
    if smallest < world_size * accumulate:
        raise TrainingError(
            f"{world_size} workers x {accumulate} accumulated parts need at least {world_size * accumulate} images in each "
            f"batch, but the smallest batch of the {num_images} images has {smallest}; raise global_batch_size, or lower "
            "resources.workers or accumulate"
        )
