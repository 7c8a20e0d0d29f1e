"""What a worker does with the errors of a training, and how long it waits for the one before it; without Ray."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline import dist, worker
from pipeline.errors import EspalierError, LockedError, StorageError, TrainingError
from pipeline.files import locked
from pipeline.train import loop
from pipeline.train.job import Job
from pipeline.train.loop import _only_writer
from pipeline.train.travel import read_fault
from tests.unit.fit_samples import job, prepared_digits


@pytest.fixture
def the_job(tmp_path: Path) -> Job:
    (tmp_path / "run").mkdir()
    return job(prepared_digits(tmp_path), tmp_path / "run")


def test_a_late_rank_0_must_be_gone_and_is_waited_for(tmp_path: Path, the_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "OLD_WRITER_WAIT_S", 0.2)
    with locked(the_job.run_dir / "writer.lock", wait_s=0.0, what="x"):
        with pytest.raises(LockedError, match=r"writer\.lock: the training worker before this one"), _only_writer(the_job):
            pass
        monkeypatch.setattr(dist, "rank", lambda: 1)
        with _only_writer(the_job):
            pass  # it writes nothing
        monkeypatch.setattr(dist, "rank", lambda: 0)
    with _only_writer(the_job):
        pass


@pytest.mark.parametrize(
    ("error", "passes"), [(StorageError("503"), True), (LockedError("in use"), True), (TrainingError("fp16 on a CPU"), False)]
)
def test_what_may_pass_is_for_ray_to_try_again_and_a_users_error_is_not(
    the_job: Job, monkeypatch: pytest.MonkeyPatch, error: EspalierError, passes: bool
) -> None:
    def fit(*_: object) -> bool:
        raise error

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(worker, "_joined", lambda _: nullcontext())
    config = {"job": the_job.model_dump_json(), "device": "cpu", "threads": 1}
    if passes:
        with pytest.raises(type(error)):
            worker.work(config)
        assert read_fault(the_job) is None
    else:
        assert worker.work(config)
        assert read_fault(the_job) == str(error)
