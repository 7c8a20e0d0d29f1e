"""Which samples form a step: a pure function of (seed, epoch), whatever the number of workers."""

import torch
from torch import Tensor

from pipeline.data.augmentation.streams import stream_seed
from pipeline.errors import TrainingError


def num_batches(num_images: int, global_batch_size: int) -> int:
    return -(-num_images // global_batch_size)


def epoch_batches(
    num_samples: int, global_batch_size: int, seed: int, epoch: int, strata_N: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Row indices of every global batch of an epoch: N rows in batches of nearly equal size.

    strata_N: without them each row once; with them as many rows of each stratum that has any, each of its
    rows as often as another, give or take one.

    The rows are cut evenly (sizes differ by at most one) instead of leaving a small rest, on which
    batch norm would compute poor statistics.
    """
    generator = torch.Generator().manual_seed(stream_seed("order", seed, epoch))
    rows_N = torch.arange(num_samples) if strata_N is None else _balanced(strata_N, generator)
    order_N = torch.randperm(num_samples, generator=generator)
    return rows_N[order_N].tensor_split(num_batches(num_samples, global_batch_size))


def _balanced(strata_N: Tensor, generator: torch.Generator) -> Tensor:
    """Rows with every stratum equally often, N in all."""
    present = strata_N.bincount().nonzero().flatten()
    quotas = [len(part) for part in torch.arange(len(strata_N)).tensor_split(len(present))]
    chosen = []
    for stratum, quota in zip(present, quotas, strict=True):
        rows = (strata_N == stratum).nonzero().flatten()
        rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-quota // len(rows)))]
        chosen.append(torch.cat(rounds)[:quota])
    return torch.cat(chosen)


def smallest_part(num_images: int, global_batch_size: int, parts: int) -> int:
    """Images in the smallest of the parts that an epoch's batches are cut into."""
    return num_images // num_batches(num_images, global_batch_size) // parts


def check_batches(num_images: int, global_batch_size: int, world_size: int, accumulate: int) -> None:
    """Raises TrainingError, before the first batch, if some worker would get an empty part."""
    if global_batch_size > num_images:
        raise TrainingError(
            f"global_batch_size is {global_batch_size}, but the training split has {num_images} images; "
            "lower it"
        )
    smallest = smallest_part(num_images, global_batch_size, 1)
    if smallest < world_size * accumulate:
        raise TrainingError(
            f"{world_size} workers x {accumulate} accumulated parts need at least {world_size * accumulate} "
            f"images in each batch, but the smallest batch of the {num_images} images has {smallest}; raise "
            "global_batch_size, or lower resources.workers or accumulate"
        )
