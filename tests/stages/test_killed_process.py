"""A process that trains is killed inside a write, and its checkpoints damaged: the short form of `make
chaos`, without Ray.
"""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.errors import LockedError
from pipeline.train import loop
from pipeline.train.checkpoints.local import TENSORS_NAME
from pipeline.train.job import Job
from pipeline.train.loop import fit, only_writer
from pipeline.train.run import Run
from tests.stages.test_exactness import final_state
from tests.support.damage import begun, spoil_newest
from tests.support.fit_samples import job, prepared_digits
from tests.support.project import until

SHORT: dict[str, Any] = {"epochs": 6, "global_batch_size": 720}
"""Two steps an epoch, each with a checkpoint."""
STEP = 5
"""At which it is killed or stopped."""
TIMEOUT_S = 120.0


def train(the_job: Job) -> None:
    fit(the_job, "cpu", 1)


def train_until_killed(the_job: Job) -> None:
    """With half of a checkpoint's tensors on the disk, SIGKILL comes: of STEP's, or of the next that does not
    wait too long.
    """

    def save_half(tensors: dict[str, Tensor], path: Path) -> None:
        content = safetensors.torch.save(tensors)
        if int(path.parent.name.partition("step-")[2].partition(".")[0]) >= STEP:
            path.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        path.write_bytes(content)

    with patch("safetensors.torch.save_file", save_half):
        train(the_job)


@contextmanager
def in_place(path: Path) -> Iterator[Path]:
    """atomic_dir without what makes it atomic."""
    path.mkdir(parents=True)
    yield path


def write_in_place_until_killed(the_job: Job) -> None:
    with patch("pipeline.train.checkpoints.local.atomic_dir", in_place):
        train_until_killed(the_job)


def train_until_stopped(the_job: Job) -> None:
    """SIGSTOP comes between two writes, as to a machine that is suspended."""

    def stop(run: Run) -> None:
        if run.state.progress.step == STEP:
            run.saver.finish()
            os.kill(os.getpid(), signal.SIGSTOP)

    fit(the_job, "cpu", 1, at_step=stop)


@contextmanager
def process(target: Callable[[Job], None], the_job: Job) -> Iterator[BaseProcess]:
    """Another process that trains; it ends with the block."""
    multiprocessing.set_forkserver_preload([__name__])
    started = multiprocessing.get_context("forkserver").Process(target=target, args=(the_job,))
    started.start()
    try:
        yield started
    finally:
        started.kill()
        started.join()


def killed_in_write(the_job: Job, target: Callable[[Job], None] = train_until_killed) -> None:
    with process(target, the_job) as worker:
        worker.join(TIMEOUT_S)
        assert worker.exitcode == -signal.SIGKILL
    (left,) = begun(checkpoints(the_job))
    assert [file.name for file in left.iterdir()] == [TENSORS_NAME]


def checkpoints(the_job: Job) -> Path:
    return the_job.site.run_dir / "checkpoints"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("undisturbed")
    the_job = job(prepared_digits(folder), folder / "run", checkpoint_s=0.0, **SHORT)
    train(the_job)
    return the_job


@pytest.fixture
def disturbed(undisturbed: Job, tmp_path: Path) -> Job:
    return undisturbed.model_copy(update={"site": undisturbed.site.at(tmp_path)})


@pytest.mark.parametrize("damage", [None, "truncated", "flipped"])
def test_killed_inside_a_write_it_goes_on_to_the_same_bits(
    undisturbed: Job, disturbed: Job, damage: str | None
) -> None:
    """Also where the newest complete checkpoint is damaged besides."""
    killed_in_write(disturbed)
    assert damage is None or spoil_newest(checkpoints(disturbed), damage, random.Random(damage))
    train(disturbed)
    assert final_state(disturbed) == final_state(undisturbed)


@pytest.mark.parametrize("damage", [None, "truncated"])
def test_its_twin_that_writes_in_place_or_verifies_nothing_cannot_go_on(
    disturbed: Job, damage: str | None
) -> None:
    killed_in_write(disturbed, train_until_killed if damage else write_in_place_until_killed)
    assert damage is None or spoil_newest(checkpoints(disturbed), damage, random.Random(damage))
    with patch("pipeline.train.checkpoints.local._verifies", lambda _: True), pytest.raises(SafetensorError):
        train(disturbed)


@pytest.mark.parametrize("locked", [True, False])
def test_a_second_writer_waits_until_the_first_is_dead(
    undisturbed: Job, disturbed: Job, locked: bool
) -> None:
    """The twin without the lock must fail: the first, which was only slow, comes back and makes each of its
    steps again.
    """
    with process(train_until_stopped, disturbed) as first:
        stopped = psutil.Process(first.pid)
        until(lambda: stopped.status() == psutil.STATUS_STOPPED, "the first stops", TIMEOUT_S)
        if locked:
            with (
                pytest.raises(LockedError, match="the training worker before"),
                only_writer(disturbed, wait_s=0.2),
            ):
                pass
        else:
            with patch.object(loop, "only_writer", lambda _: nullcontext()):
                train(disturbed)
        stopped.resume()
        first.join(TIMEOUT_S)
    assert (final_state(disturbed) == final_state(undisturbed)) is locked
