"""Splits: stratified, repeatable, and refused where one would be empty."""

import hashlib
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.intake.splitting.assign import assign_splits, count_duplicates
from pipeline.data.intake.targets.one_class import ClassTarget
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError
from tests.support.data_samples import data_params


class Row(NamedTuple):
    row: int
    split: str
    label: int
    digest: bytes


def rows_of(labels: list[int], split: str = "train", first: int = 0) -> list[Row]:
    numbered = enumerate(labels, start=first)
    return [Row(row, split, label, hashlib.md5(str(row).encode()).digest()) for row, label in numbered]


def table_of(rows: list[Row]) -> pa.Table:
    return pa.table({"split": [row.split for row in rows], "digest": digests([row.digest for row in rows])})


def digests(found: list[bytes]) -> pa.Array:
    return pa.array(found, pa.binary(16))


def split_rows(rows: list[Row], own: list[str] | None = None, **changes: float) -> dict[str, Indices]:
    settled = ClassTarget(field="class", column="label").settle(pa.array([row.label for row in rows]), None)
    return assign_splits(table_of(rows), [settled], own or ["train"], data_params(**changes).split)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(3, 40), min_size=2, max_size=5),
    st.floats(0.01, 0.45),
    st.floats(0.01, 0.45),
    st.integers(0, 5),
)
def test_every_row_in_one_split_and_every_class_in_proportion(
    sizes: list[int], val: float, test: float, seed: int
) -> None:
    labels = [number for number, size in enumerate(sizes) for _ in range(size)]
    splits = split_rows(rows_of(labels), val_fraction=val, test_fraction=test, seed=seed)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(labels)))
    for fraction, split in ((val, "val"), (test, "test")):
        counts = Counter(labels[index] for index in splits[split].tolist())
        for number, size in enumerate(sizes):
            assert 1 <= counts[number] <= max(1, size * fraction + 0.5)
            assert counts[number] >= min(size * fraction - 0.5, size - 3)
    assert {labels[index] for index in splits["train"].tolist()} == set(range(len(sizes)))


def test_splits_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    rows = rows_of([number % 3 for number in range(90)])
    backwards = rows[::-1]

    def members(rows: list[Row], seed: int) -> set[int]:
        return {rows[index].row for index in split_rows(rows, seed=seed)["test"].tolist()}

    assert members(rows, seed=1) == members(backwards, seed=1)
    assert members(rows, seed=1) != members(rows, seed=2)


def test_own_test_split_is_kept_and_val_comes_out_of_train() -> None:
    rows = rows_of([0, 1] * 20) + rows_of([0, 0, 0], "test", first=100)
    splits = split_rows(rows, ["train", "test"], val_fraction=0.25, test_fraction=0.0)
    assert splits["test"].tolist() == [40, 41, 42]
    assert (len(splits["train"]), len(splits["val"])) == (30, 10)


def test_own_splits_need_no_fractions() -> None:
    rows = rows_of([0, 1]) + rows_of([0], "val") + rows_of([1], "test")
    splits = split_rows(rows, ["train", "val", "test"], val_fraction=0.0, test_fraction=0.0)
    assert {split: indices.tolist() for split, indices in splits.items()} == {
        "train": [0, 1],
        "val": [2],
        "test": [3],
    }


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (
            [0, 0, 0, 1],
            {},
            r"class '1' has 1 usable image, but train and val and test need one each; add images",
        ),
        ([0, 0, 0, 1, 1], {}, r"class '1' has 2 usable images, but train and val and test need one each"),
        (
            [0, 1] * 5,
            {"val_fraction": 0.0},
            "split 'val' would be empty: the source has none of its own and data.split.val_fraction is 0",
        ),
        ([0, 1] * 5, {"test_fraction": 0.0}, "split 'test' would be empty"),
    ],
)
def test_splits_that_cannot_be_made(labels: list[int], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_rows(rows_of(labels), **changes)


def test_class_absent_from_train() -> None:
    rows = rows_of([0, 0, 0]) + rows_of([1, 0], "test")
    with pytest.raises(DataError, match=r"class '1' has no usable image in train"):
        split_rows(rows, ["train", "test"])


def test_own_split_without_usable_rows() -> None:
    with pytest.raises(DataError, match=r"split 'test' of the source has no usable row; mend it"):
        split_rows(rows_of([0, 1] * 5), ["train", "test"])


def test_duplicates_are_images_that_stand_in_an_earlier_split() -> None:
    rows = pa.table({"digest": digests([letter.encode() * 16 for letter in "abaacb"])})
    splits = {"train": np.array([0, 1]), "val": np.array([4]), "test": np.array([2, 3, 5])}
    assert count_duplicates(rows, splits) == {"train/val": 0, "train/test": 3, "val/test": 0}
