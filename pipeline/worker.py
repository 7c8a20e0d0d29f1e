"""What Ray runs on each worker of a training: the other side of cluster.py."""

import os
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil

import pipeline.environment  # noqa: F401 - first: it settles what the others read
from pipeline.errors import EspalierError, LockedError, StorageError
from pipeline.resources import Device
from pipeline.train.job import Job
from pipeline.train.travel import leave_fault, read_fault
from pipeline.watch import watched

COLLECTIVE_TIMEOUT_S = 60
"""Longer than what one rank does alone between two of them. A worker that is frozen is found sooner, by Ray's health check, and
one whose training hangs by its own watch."""
OURS = "an error in this program ended the training; complete checkpoints are kept, and another attempt would meet it again:"
_told_to_go = threading.Event()


def listen() -> None:
    """Take SIGTERM as the word to leave after a checkpoint. In the main thread of a worker; Ray's own handler would end it."""
    signal.signal(signal.SIGTERM, lambda *_: _told_to_go.set())


def _is_leaving() -> bool:
    """Whether this worker got SIGTERM, or Ray was told that a node of the training is going (drained, or SIGTERM to it)."""
    from ray.train.v2._internal.execution.context import get_train_context  # what is public is a barrier of all workers

    return _told_to_go.is_set() or get_train_context().preemption_context.preemption_info is not None


def work(config: dict[str, Any]) -> bool:
    """What Ray runs on each worker: whether the training is over.

    An error that each attempt would meet again, a user's or ours, is left for the driver: Ray would retry it in vain. The
    other ranks, whose connections to this one then end, find it there.
    """
    from pipeline.train.arrival import arrive  # here, so that the driver need not wait for torch before it starts Ray
    from pipeline.train.loop import fit

    job = Job.model_validate_json(config["job"])
    if read_fault(job):
        return True
    job = arrive(job)  # before the others wait for this worker in a collective, whose patience ends
    with _joined(config["device"]), watched():
        try:
            return fit(job, config["device"], config["threads"], _is_leaving)
        except (StorageError, LockedError):
            raise  # which may pass: the next attempt goes on from the last checkpoint
        except EspalierError as error:
            leave_fault(job, str(error))
        except Exception as error:
            if not _is_passing(error):
                leave_fault(job, f"{OURS}\n{traceback.format_exc().rstrip()}")
            elif not read_fault(job):
                raise
        return True


def _is_passing(error: Exception) -> bool:
    """Whether another attempt may go on from the last checkpoint where this one ended."""
    from pipeline.dist import may_pass

    return type(error).__module__.startswith("ray.") or may_pass(error)


@contextmanager
def _joined(device: Device) -> Iterator[None]:
    """The process group of all workers, for the time of the block."""
    import ray
    import torch.distributed as dist
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    here: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    os.environ["GLOO_SOCKET_IFNAME"] = _interface(here)  # else gloo may connect to 127.0.0.1 on another machine
    rank, world_size = get_context().get_world_rank(), get_context().get_world_size()
    timeout = timedelta(seconds=COLLECTIVE_TIMEOUT_S)
    # A socket of ours, because the store's own would listen on every interface of the machine, and let anyone in.
    listening = socket.create_server((here, 0)) if rank == 0 else None
    address, port = broadcast_from_rank_zero(listening.getsockname()[:2] if listening else None)
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
