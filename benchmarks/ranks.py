"""Processes that form a gloo group, as plain PyTorch starts them."""

import socket
from collections.abc import Callable

import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def on_ranks(ranks: int, work: Callable[..., None], *arguments: object) -> None:
    """Run `work` in this many processes that form a group; raises what any of them raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_rank, (ranks, port, work, arguments), nprocs=ranks)  # type: ignore[no-untyped-call]


def _rank(rank: int, ranks: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    try:
        work(*arguments)
    finally:
        dist.destroy_process_group()
