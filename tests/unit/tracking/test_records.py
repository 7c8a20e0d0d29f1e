"""A journal is read once, whatever its writer does to it, and a lock holds among processes."""

from pathlib import Path

from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Tail, flatten, stage_names


def test_a_tail_gives_each_event_once_and_waits_for_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    journal = Journal(path)
    journal.metrics({"loss": 1.0}, step=1)
    assert [event["step"] for event in tail.read()] == [1]
    with path.open("a") as file:
        file.write('{"kind": "metr')
    assert tail.read() == []
    with path.open("a") as file:
        file.write('ics", "step": 2}\n')
    assert [event["step"] for event in tail.read()] == [2]


def test_a_tail_starts_over_when_a_resumed_run_rewrote_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "train.jsonl")
    for step in (1, 2, 3):
        journal.metrics({"loss": 1.0}, step=step)
    tail = Tail(journal.path)
    assert len(tail.read()) == 3
    journal.rewind(1)
    for step in (2, 3, 4, 5):
        journal.metrics({"loss": 1.0}, step=step)
    assert [event["step"] for event in tail.read()] == [1, 2, 3, 4, 5]


def test_params_are_flattened() -> None:
    nested = {
        "train": {"epochs": 3, "ema": None, "augment": {"cutout": 8}, "rates": {"*.bias": 2}},
        "model": {"name": "resnet20", "sizes": [1, 2]},
    }
    assert flatten(nested) == {
        "train.epochs": "3",
        "train.ema": "null",
        "train.augment.cutout": "8",
        "train.rates": '{"*.bias": 2}',
        "model.name": "resnet20",
        "model.sizes": "[1, 2]",
    }


def test_foreach_gives_a_stage_per_item(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages: {train: {cmd: x}, evaluate: {foreach: {dense: {}, pruned: {}}, do: {cmd: y}}}"
    )
    assert stage_names(tmp_path) == ["train", "evaluate@dense", "evaluate@pruned"]
