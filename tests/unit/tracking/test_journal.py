"""The journal keeps every event once, whatever kills its writer."""

from pathlib import Path

import pytest

from pipeline.tracking.journal import Journal, read_journal


def steps(path: Path) -> list[int]:
    return [event["step"] for event in read_journal(path)]


def test_rewind_forgets_what_came_after(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j" / "train.jsonl")
    for step in (1, 2, 3):
        journal.metrics({"loss": 1.0 / step}, step=step)
    journal.metrics({"top1": 0.9})
    journal.rewind(2)
    assert steps(journal.path) == [1, 2]
    assert next(read_journal(journal.path))["values"] == {"loss": 1.0}


def test_a_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    Journal(path).metrics({"loss": 1.0}, step=1)
    with path.open("a") as file:
        file.write('{"kind": "metr')
    assert steps(path) == [1]
    Journal(path).metrics({"loss": 0.5}, step=2)
    assert steps(path) == [1, 2]


def test_nothing_was_reported_yet(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "absent")) == []
    Journal(tmp_path / "absent").rewind(0)


def test_a_metric_that_is_not_finite_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="loss"):
        Journal(tmp_path / "j").metrics({"loss": float("nan")}, step=1)
