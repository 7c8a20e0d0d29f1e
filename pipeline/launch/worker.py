"""What Ray runs on each worker of a training: the other side of launch/ray_cluster.py."""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.errors import EspalierError, LockedError, StorageError
from pipeline.train.job import Job
from pipeline.train.params import Device
from pipeline.train.transport.driver import read_user_error, report_user_error
from pipeline.watchdog import watched

OURS = (
    "an error in this program ended the training; complete checkpoints are kept, and another attempt "
    "would meet it again:"
)
_told_to_go = threading.Event()


def listen() -> None:
    """Take SIGTERM as the word to leave after a checkpoint.

    In the main thread of a worker; Ray's own handler would end it.
    """
    signal.signal(signal.SIGTERM, lambda *_: _told_to_go.set())


def _is_leaving() -> bool:
    """Whether this worker got SIGTERM, or Ray was told that a node of the training is going."""
    # What is public is a barrier of all workers.
    from ray.train.v2._internal.execution.context import get_train_context

    return _told_to_go.is_set() or get_train_context().preemption_context.preemption_info is not None


def work(config: dict[str, Any]) -> bool:
    """What Ray runs on each worker: whether the training is over."""
    # Here, so that the driver need not wait for torch before it starts Ray.
    from pipeline.train.loop import fit

    return attempt_fit(
        Job.model_validate_json(config["job"]), config["device"], config["threads"], _joined, fit
    )


def attempt_fit(
    job: Job,
    device: Device,
    threads: int,
    join: Callable[[Device], AbstractContextManager[None]],
    fit: Callable[[Job, Device, int, Callable[[], bool]], bool],
) -> bool:
    """One worker's part of a training: whether it is over. join: makes the process group of all workers. fit:
    the training, as train/loop.py has it.

    An error that each attempt would meet again, a user's or ours, is left for the driver: Ray would retry it
    to no effect. The other ranks, whose connections to this one then end, find it there.
    """
    from pipeline.train.transport.worker import arrive  # torch, which the driver need not wait for

    if read_user_error(job):
        return True
    job = arrive(job)  # before the others wait for this worker in a collective, which times out
    with join(device), watched():
        try:
            return fit(job, device, threads, _is_leaving)
        except (StorageError, LockedError):
            raise  # which may pass: the next attempt goes on from the last checkpoint
        except EspalierError as error:
            report_user_error(job, str(error))
        except Exception as error:
            if not _is_passing(error):
                report_user_error(job, f"{OURS}\n{traceback.format_exc().rstrip()}")
            elif not read_user_error(job):
                raise
        return True


def _is_passing(error: Exception) -> bool:
    """Whether another attempt may go on from the last checkpoint where this one ended."""
    from pipeline.train.ranks import may_pass

    return type(error).__module__.startswith("ray.") or may_pass(error)


@contextmanager
def _joined(device: Device) -> Iterator[None]:
    """The process group of all workers, for the time of the block."""
    import ray
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    from pipeline.train.process_group import process_group

    context = get_context()
    here: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    with process_group(
        device, context.get_world_rank(), context.get_world_size(), here, broadcast_from_rank_zero
    ):
        yield
