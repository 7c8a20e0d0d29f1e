"""The process group of a training: its workers, joined over a socket that listens to no more than it must."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import torch.distributed as dist

from pipeline.train.params import Device

COLLECTIVE_TIMEOUT_S = 60
"""Longer than what one rank does alone between two of them. A worker that is frozen is found sooner, by Ray's
health check, and one whose training hangs by its own watch."""
Broadcast = Callable[[tuple[str, int] | None], tuple[str, int]]
"""Gives every rank what rank 0 hands in."""


@contextmanager
def process_group(
    device: Device, rank: int, world_size: int, here: str, broadcast: Broadcast
) -> Iterator[None]:
    """The process group of `world_size` workers, for the time of the block.

    here: by which address others reach this node.
    """
    # Else gloo may connect to 127.0.0.1 on another machine.
    os.environ["GLOO_SOCKET_IFNAME"] = _interface(here)
    timeout = timedelta(seconds=COLLECTIVE_TIMEOUT_S)
    # A socket of ours, because the store's own would listen on every interface of the machine, and let anyone
    # in.
    listening = socket.create_server((here, 0)) if rank == 0 else None
    address, port = broadcast(listening.getsockname()[:2] if listening else None)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address,
        port,
        world_size,
        is_master=rank == 0,
        timeout=timeout,
        master_listen_fd=listening.detach() if listening else None,
    )
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=timeout,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _interface(address: str) -> str:
    """The network interface that has this address."""
    found: dict[str, Any] = psutil.net_if_addrs()
    return next(name for name, entries in found.items() if address in {entry.address for entry in entries})
