"""What a worker does with the errors of a training, and how long it waits for the one before it;
without Ray.
"""

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from pipeline.base.files import locked
from pipeline.errors import DiskError, EspalierError, LockedError, StorageError, TrainingError
from pipeline.launch import worker
from pipeline.train.job import Job
from pipeline.train.loop import only_writer
from pipeline.train.transport.driver import read_user_error, report_user_error
from tests.support.fit_samples import job, prepared_digits


@pytest.fixture
def the_job(tmp_path: Path) -> Job:
    (tmp_path / "run").mkdir()
    return job(prepared_digits(tmp_path), tmp_path / "run")


def test_a_late_rank_0_must_be_gone_and_is_waited_for(the_job: Job) -> None:
    with (
        locked(the_job.site.run_dir / "writer.lock", wait_s=0.0, what="x"),
        pytest.raises(LockedError, match=r"writer\.lock: the training worker before this one"),
        only_writer(the_job, wait_s=0.2),
    ):
        pass
    with only_writer(the_job):
        pass


CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711")
"""As gloo tells of another rank that died."""


def attempt(the_job: Job, fit: Callable[..., bool]) -> bool:
    """What a worker says of a training that is `fit`."""
    return worker.attempt_fit(the_job, "cpu", 1, lambda _: nullcontext(), fit)


def raising(error: Exception) -> Callable[..., bool]:
    def fit(*_: object) -> bool:
        raise error

    return fit


@pytest.mark.parametrize(
    "error",
    [
        StorageError("503"),
        LockedError("in use"),
        CLOSED,
        torch.distributed.DistNetworkError("the client socket has timed out"),
        torch.OutOfMemoryError("CUDA out of memory"),
        ConnectionResetError("reset"),
    ],
)
def test_what_may_pass_is_for_ray_to_try_again(the_job: Job, error: Exception) -> None:
    with pytest.raises(type(error)):
        attempt(the_job, raising(error))
    assert read_user_error(the_job) is None


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (TrainingError("fp16 on a CPU"), r"fp16 on a CPU"),
        (DiskError("the disk is full"), r"the disk is full"),
        (
            RuntimeError("size of tensor a must match"),
            r"an error in this program .*Traceback .*test_worker.*RuntimeError: size of",
        ),
        (KeyError("lost"), r"an error in this program .*Traceback .*KeyError: 'lost'"),
    ],
)
def test_what_each_attempt_would_meet_is_left_for_the_driver(
    the_job: Job, error: Exception, left: str
) -> None:
    assert attempt(the_job, raising(error))
    assert re.fullmatch(
        left if isinstance(error, EspalierError) else f"(?s){left}.*", read_user_error(the_job) or ""
    )


def test_a_rank_whose_peer_left_an_error_does_not_hide_it(the_job: Job) -> None:
    def fit(*_: object) -> bool:
        report_user_error(the_job, "the first error")  # of another rank, which then closes its connections
        raise CLOSED

    assert attempt(the_job, fit)
    assert read_user_error(the_job) == "the first error"
