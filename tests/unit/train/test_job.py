"""The directory of a run, which one process at a time writes."""

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline.base.files import locked
from pipeline.errors import LockedError
from pipeline.train.job import run_directory


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with run_directory(tmp_path / "run"):  # noqa: SIM117 - the second must fail inside the first
        with (
            pytest.raises(LockedError, match=r"this stage with the same inputs is in use"),
            run_directory(tmp_path / "run"),
        ):
            pass


def test_without_the_lock_a_second_writer_takes_the_run_directory_from_the_first(tmp_path: Path) -> None:
    """The twin that must fail: the one that ends first removes what the other still needs."""
    with (
        patch("pipeline.train.job.locked", lambda *_, **__: nullcontext()),
        run_directory(tmp_path / "run") as first,
    ):
        first.mkdir()
        with run_directory(tmp_path / "run"):
            pass
        assert not first.exists()
        first.mkdir()  # for its own end


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock", wait_s=0.0, what="x"):
            pass


def test_a_run_directory_outlives_an_error_and_not_a_success(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run_directory(tmp_path / "run") as folder:
        (folder / "checkpoint").touch()
        raise RuntimeError
    assert (tmp_path / "run" / "checkpoint").exists()
    with run_directory(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
