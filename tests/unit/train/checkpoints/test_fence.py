"""Who may write a run in a storage, where a lock on one disk says nothing: the driver that claimed it, and
its last rank 0.
"""

import time
from pathlib import Path

import pytest
import torch

from pipeline.base.files import write_atomic
from pipeline.errors import LockedError
from pipeline.storage import Storage
from pipeline.train.checkpoints.fence import ALIVE_NAME, OWNER_NAME, Fence
from pipeline.train.checkpoints.local import MANIFEST_NAME
from pipeline.train.job import Job
from pipeline.train.loop import fit
from pipeline.train.run import Run
from pipeline.train.transport.driver import (
    ERROR,
    PROGRESS,
    fence,
    finish,
    report_user_error,
    run_storage,
    send,
    signs_of_life,
)
from pipeline.train.transport.worker import Outbox, arrive, open_store
from tests.support.fit_samples import job, prepared_digits

TAKEN = "another worker has taken over this run; this one ends"
SOON_S, POLL_S = 0.3, 0.02


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    (tmp_path / "bucket").mkdir()
    return Storage(str(tmp_path / "bucket"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepared_digits(tmp_path)


@pytest.fixture
def sent(data: Path, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
    return send(job(data, tmp_path / "here" / "run", checkpoint_s=0.0), storage.url)


def test_a_rank_0_whose_place_is_taken_publishes_nothing_more(sent: Job) -> None:
    old, new = arrive(sent), arrive(sent)
    fence(old).take()
    open_store(old).save(1, {"w": torch.zeros(1)}, {})
    fence(new).take()
    write_atomic(old.site.run_dir / PROGRESS, "{}")
    with pytest.raises(LockedError, match=TAKEN):
        open_store(old).save(2, {"w": torch.zeros(1)}, {})
    Outbox(old).send()
    assert run_storage(sent).read(PROGRESS) is None
    whole = [name for name in run_storage(sent).names("checkpoints") if name.endswith(MANIFEST_NAME)]
    assert [name.partition("-")[2][:9] for name in whole] == ["000000001"]
    open_store(new).save(2, {"w": torch.ones(1)}, {})
    Outbox(new).send()
    assert run_storage(sent).read(PROGRESS) == b"{}"
    found = open_store(new).newest()
    assert found is not None
    assert found[0]["w"].tolist() == [1.0]


def test_a_training_whose_rank_0_is_replaced_ends_at_its_next_checkpoint_and_sends_no_result(
    sent: Job,
) -> None:
    def replaced(run: Run) -> None:
        if run.state.progress.step == 5:
            fence(arrive(sent)).take()

    with pytest.raises(LockedError, match=TAKEN):
        fit(arrive(sent), "cpu", 1, at_step=replaced)
    found = open_store(sent).newest()
    assert found is None or found[1]["progress"]["step"] <= 5


def test_a_second_driver_is_refused_while_the_first_lives(data: Path, sent: Job, tmp_path: Path) -> None:
    with (
        signs_of_life(sent, POLL_S),
        pytest.raises(LockedError, match=r"another folder or machine trains from the same inputs"),
    ):
        send(job(data, tmp_path / "there" / "run"), str(sent.site.storage))
    fence(sent).take()


def test_a_driver_that_shows_no_life_is_replaced_and_disturbs_no_more(
    sent: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    run, started = run_storage(sent), time.monotonic()
    second = Fence(run, "there-1")
    second.claim(SOON_S, POLL_S)
    assert time.monotonic() - started >= SOON_S
    assert "looking for 0 s whether it lives" in capsys.readouterr().err
    with pytest.raises(LockedError, match=TAKEN):
        fence(arrive(sent)).take()
    report_user_error(sent, "the loss is not finite")
    fence(sent).sign()
    finish(sent)
    assert run.read(ERROR) is None
    assert run.read(ALIVE_NAME) is None
    assert second.is_writer


def test_the_same_folder_goes_on_at_once_with_what_it_left(sent: Job, data: Path) -> None:
    """Its own lock says that the driver before is gone."""
    again = send(job(data, sent.site.run_dir), str(sent.site.storage))
    assert again.site.owner != sent.site.owner
    with pytest.raises(LockedError, match=TAKEN):
        fence(arrive(sent)).take()
    fence(arrive(again)).take()
    finish(again)
    assert run_storage(sent).read(OWNER_NAME) is None
