"""The error that one rank meets ends the training of all at once, and is the one that is told; a rank that
died is not.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from benchmarks.ranks import on_ranks
from pipeline.launch import worker
from pipeline.train import ranks
from pipeline.train.job import Job
from pipeline.train.loop import fit
from pipeline.train.run import Run
from pipeline.train.transport.driver import read_user_error
from tests.support.fit_samples import job, prepared_digits

FAILING_STEP = 2


def on_last_rank(fails: Callable[[], None]) -> Callable[[Run], None]:
    def at_step(run: Run) -> None:
        if ranks.rank() == ranks.world_size() - 1 and run.state.progress.step == FAILING_STEP:
            fails()

    return at_step


def stumble() -> None:
    raise KeyError("lost")


def die() -> None:
    os._exit(0)


def work(the_job: Job, fails: Callable[[], None]) -> None:
    """One rank's attempt; leaves what came of it."""
    outcome = the_job.site.run_dir / f"outcome-{ranks.rank()}"
    failing = partial(fit, at_step=on_last_rank(fails))
    try:
        outcome.write_text(str(worker.attempt_fit(the_job, "cpu", 1, lambda _: nullcontext(), failing)))
    except RuntimeError:
        outcome.write_text("tries again")


@pytest.fixture
def the_job(tmp_path: Path) -> Job:
    (tmp_path / "run").mkdir()
    return job(prepared_digits(tmp_path), tmp_path / "run")


def test_the_first_error_is_left_and_no_other_hides_it(the_job: Job) -> None:
    on_ranks(2, work, the_job, stumble, forked=True)
    assert [(the_job.site.run_dir / f"outcome-{rank}").read_text() for rank in range(2)] == ["True", "True"]
    assert "KeyError: 'lost'" in (read_user_error(the_job) or "")


def test_a_rank_that_died_leaves_no_error_and_the_others_try_again(the_job: Job) -> None:
    on_ranks(2, work, the_job, die, forked=True)
    assert (the_job.site.run_dir / "outcome-0").read_text() == "tries again"
    assert read_user_error(the_job) is None
