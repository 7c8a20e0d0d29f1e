"""Splits that keep groups together, follow the time, or make folds."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.intake.params import DataParams
from pipeline.data.intake.splitting.assign import assign_splits
from pipeline.data.intake.splitting.params import AnySplit
from pipeline.data.intake.targets.number import NumberTarget
from pipeline.data.intake.targets.one_class import ClassTarget
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError
from tests.support.data_samples import SPLIT, data_params

TARGET = ClassTarget(field="class", column="label")
BY_GROUP = SPLIT | {"by": "group", "column": "who"}
BY_RUNS = SPLIT | {"by": "runs"}
BY_TIME = {"by": "time", "column": "taken", "val_fraction": 0.2, "test_fraction": 0.2}


def rule(values: dict[str, Any]) -> AnySplit:
    return DataParams.model_validate(data_params().model_dump() | {"split": values}).split


def rows_of(count: int, **columns: Any) -> pa.Table:
    digests = [row.to_bytes(16, "little") for row in range(count)]
    values = {"split": ["train"] * count, "file": [f"{row}.jpg" for row in range(count)]} | columns
    return pa.table(values | {"digest": pa.array(digests, pa.binary(16))})


def split(
    rows: pa.Table, labels: list[int], values: dict[str, Any], own: tuple[str, ...] = ("train",)
) -> dict[str, Indices]:
    return assign_splits(rows, [TARGET.settle(pa.array(labels), None)], own, rule(values))


def test_groups_stay_together_and_classes_keep_their_shares() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(120), random.integers(1, 30, 120))
    labels = ((who * 7 + random.integers(0, 2, len(who))) % 3).tolist()
    splits = split(rows_of(len(who), place=[f"p{number}" for number in who]), labels, BY_GROUP)
    members = {name: set(who[indices].tolist()) for name, indices in splits.items()}
    assert sum(map(len, members.values())) == 120
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(who)))
    for name, share in (("val", 0.2), ("test", 0.2)):
        counts = Counter(labels[row] for row in splits[name].tolist())
        for label, whole in Counter(labels).items():
            assert counts[label] == pytest.approx(share * whole, rel=0.15)


def test_a_group_larger_than_val_goes_to_train() -> None:
    who = ["large"] * 60 + [f"p{row}" for row in range(40)]
    splits = split(rows_of(100, place=who), [row % 2 for row in range(100)], BY_GROUP)
    assert set(range(60)) <= set(splits["train"].tolist())
    assert [len(splits[name]) for name in ("val", "test")] == [20, 20]


def test_folds_of_groups_and_of_rows_are_each_row_once() -> None:
    labels = [row % 3 for row in range(100)]
    for values in (SPLIT, BY_GROUP):
        tests = []
        for index in range(4):
            splits = split(
                rows_of(100, place=[str(row // 3) for row in range(100)]),
                labels,
                values | {"fold": {"of": 4, "index": index}},
            )
            assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(100))
            assert 23 <= len(splits["test"]) <= 27
            assert 12 <= len(splits["val"]) <= 18
            tests.append(splits["test"])
        assert sorted(np.concatenate(tests).tolist()) == list(range(100))


def test_a_group_in_two_splits_of_the_source_is_refused() -> None:
    own = ["train"] * 8 + ["test"] * 4
    who = ["a", "b"] * 4 + ["c", "b", "c", "c"]
    with pytest.raises(DataError, match=r"group 'b' is in train and in test of the source, as 1 groups are"):
        split(rows_of(12, split=own, place=who), [0, 1] * 6, BY_GROUP, ("train", "test"))


def test_a_run_ends_where_the_class_does_not_rise() -> None:
    """Ten people show the signs 0 to 4, one after the other; the files lie in a folder for each sign."""
    taken = [(sign, 5 * person + sign) for sign in range(5) for person in range(10)]
    files = [f"{sign}/IMG_{number:04d}.JPG" for sign, number in taken]
    labels = [sign for sign, _ in taken]
    splits = split(rows_of(50, file=files), labels, BY_RUNS)
    people = {name: {taken[row][1] // 5 for row in rows.tolist()} for name, rows in splits.items()}
    assert {name: len(members) for name, members in people.items()} == {"train": 6, "val": 2, "test": 2}
    assert len(set.union(*people.values())) == 10


def test_runs_need_numbers_and_classes() -> None:
    with pytest.raises(DataError, match=r"needs a number in each file's name; 'cat' has none"):
        split(rows_of(8, file=["a/cat.jpg"] * 8), [0, 1] * 4, BY_RUNS)
    number = NumberTarget(field="number", column="n").settle(pa.array([1.0, 2.0, 3.0, 4.0]), None)
    with pytest.raises(DataError, match=r"by runs needs one class a row"):
        assign_splits(rows_of(4), [number], ["train"], rule(BY_RUNS))


def test_the_latest_rows_are_test() -> None:
    times = [f"2026-01-{1 + row % 10:02d}" for row in range(100)]
    splits = split(rows_of(100, place=times), [row // 10 % 2 for row in range(100)], BY_TIME)
    found = {name: sorted({times[row][-2:] for row in rows.tolist()}) for name, rows in splits.items()}
    assert found == {
        "train": ["01", "02", "03", "04", "05", "06"],
        "val": ["07", "08"],
        "test": ["09", "10"],
    }


def test_too_few_groups_or_times_are_told() -> None:
    with pytest.raises(DataError, match=r"split 'test' would be empty: 2 groups are too few"):
        split(rows_of(20, place=["a", "b"] * 10), [row % 5 // 2 % 2 for row in range(20)], BY_GROUP)
    with pytest.raises(
        DataError, match=r"split 'train' would be empty: its rows have too few different times"
    ):
        split(rows_of(20, place=[1] * 20), [0, 1] * 10, BY_TIME)


def test_a_fold_of_a_source_with_a_test_is_refused() -> None:
    own = ["train"] * 8 + ["test"] * 4
    with pytest.raises(DataError, match=r"data.split.fold makes a part of the rows test, but the source has"):
        split(rows_of(12, split=own), [0, 1] * 6, SPLIT | {"fold": {"of": 2, "index": 0}}, ("train", "test"))
