"""Checkpoints that are written beside the training: which, when it waits, and where an error of
a write goes.
"""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.errors import DiskError
from pipeline.storage import Storage
from pipeline.train.checkpoints.fence import Fence
from pipeline.train.checkpoints.local import CheckpointState, LocalStore
from pipeline.train.checkpoints.remote import RemoteStore
from pipeline.train.checkpoints.saver import Saver
from tests.support.limited import run_limited


class SlowStore:
    """Writes only while it is let. steps: what it has written."""

    folder = "nowhere"

    def __init__(self) -> None:
        self.let, self.begun = threading.Event(), threading.Event()
        self.steps: list[int] = []

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        self.begun.set()
        assert self.let.wait(30.0)
        assert tensors["w"].tolist() == [float(step)]
        assert values == {"step": step}
        self.steps.append(step)

    def newest(self) -> CheckpointState | None:
        raise NotImplementedError


def save(saver: Saver, step: int, weights: Tensor) -> None:
    saver.save(step, {"w": weights.fill_(step)}, {"step": step})


def test_no_step_waits_for_a_write_and_of_those_that_wait_the_newest_is_written() -> None:
    store, weights = SlowStore(), torch.zeros(1)
    saver = Saver(store, 0.0, "cpu")
    save(saver, 1, weights)
    assert store.begun.wait(30.0)
    for step in (2, 3, 4):
        save(saver, step, weights)
    assert store.steps == []
    store.let.set()
    saver.finish()
    assert store.steps == [1, 4]
    save(saver, 5, weights)
    saver.finish()
    assert store.steps == [1, 4, 5]


class FailingStore(SlowStore):
    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        raise ZeroDivisionError(step)


@pytest.mark.parametrize("then", ["save", "agree", "finish"])
def test_whatever_ends_a_write_reaches_the_training(then: str) -> None:
    saver, weights = Saver(FailingStore(), 0.0, "cpu"), torch.zeros(1)
    save(saver, 1, weights)
    with pytest.raises(ZeroDivisionError):
        saver.finish()  # the write is over
    with pytest.raises(ZeroDivisionError):
        {
            "save": lambda: save(saver, 2, weights),
            "agree": lambda: saver.agree(2, leaving=False),
            "finish": saver.finish,
        }[then]()


FULL_DISK = """
import sys
from pathlib import Path
import torch
from pipeline.errors import DiskError, StorageError
from pipeline.storage import Storage
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.checkpoints.fence import Fence
from pipeline.train.checkpoints.remote import RemoteStore

place = Path(sys.argv[2])
fence = Fence(Storage(f"{place}-run"), "here-1")
fence.claim()
remote = RemoteStore(Storage(str(place)), place / "journal", fence)
store = LocalStore(place) if sys.argv[1] == "disk" else remote
store.save(1, {"w": torch.zeros(10)}, {})
try:
    store.save(2, {"w": torch.zeros(10_000)}, {})
except (StorageError, DiskError) as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("kind", ["disk", "storage"])
def test_a_disk_that_takes_no_more_is_named_and_the_checkpoint_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """safetensors has an error of its own for it, which is no OSError."""
    done = run_limited(
        FULL_DISK, kind, str(tmp_path), most_bytes=10_000, environment={"XDG_CACHE_HOME": str(tmp_path)}
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{tmp_path if kind == 'disk' else tmp_path / 'espalier'}: a checkpoint cannot be written ("
    )
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = Storage(str(tmp_path))
    store = (
        LocalStore(tmp_path)
        if kind == "disk"
        else RemoteStore(here, tmp_path / "journal", Fence(here, "here-1"))
    )
    found = store.newest()
    assert found is not None
    assert found[0]["w"].shape == (10,)


def test_old_checkpoints_that_cannot_be_removed_are_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for step in (1, 2):
        store.save(step, {}, {})

    def refuse(path: Path, **_: object) -> None:
        if path.name == "step-000000001":
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pipeline.train.checkpoints.local.shutil.rmtree", refuse)
    with pytest.raises(
        DiskError, match=r"a checkpoint cannot be written \(.*Permission denied: .*step-000000001'\)"
    ):
        store.save(3, {}, {})
