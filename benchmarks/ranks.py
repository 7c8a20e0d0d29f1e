"""Processes that form a gloo group, as plain PyTorch starts them."""

import multiprocessing
import socket
from collections.abc import Callable

import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes


def on_ranks(ranks: int, work: Callable[..., None], *arguments: object, forked: bool = False) -> None:
    """Run `work` in this many processes that form a group; raises what any of them raised.

    forked: from one process that imports torch for all and for later groups; otherwise each takes five
    seconds for it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload([work.__module__])
    method = "forkserver" if forked else "spawn"
    start_processes(_rank, (ranks, port, work, arguments), nprocs=ranks, start_method=method)  # type: ignore[no-untyped-call]


def _rank(rank: int, ranks: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    try:
        work(*arguments)
    finally:
        dist.destroy_process_group()
