"""What a constant answer scores, by hand, and how splits are cut."""

from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.init.judging import constant_scores, judge_with
from pipeline.init.target import Target


def target_of(field: str, values: list[Any], splits: list[str] | None = None) -> Target:
    columns: dict[str, Any] = {"columns": ["x"]} if field == "classes" else {"column": "x"}
    return Target({"field": field} | columns, "", values, splits or ["train"] * len(values), [], 0)


@pytest.mark.parametrize(
    ("field", "values", "scores"),
    [
        ("class", ["a", "b", "a"], [1, 0, 1]),
        ("number", [0.0, 1.0, 4.0], [0.75, 1, 0.25]),
        ("classes", [["a"], ["a", "b"], ["a"]], [1, 2 / 3, 1]),
        ("classes", [[], [], ["a"]], [1, 1, 0]),
    ],
)
def test_score_of_the_best_constant_answer(field: str, values: list[Any], scores: list[float]) -> None:
    assert constant_scores(target_of(field, values), values) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("rows", "val", "test"),
    [(100, 15, 20), (2_000, 200, 400), (50_000, 2_500, 5_000), (200_000, 5_000, 10_000)],
)
def test_splits_are_large_enough_to_judge_and_no_larger(rows: int, val: int, test: int) -> None:
    found = judge_with(target_of("class", ["a", "b"] * (rows // 2)), ["train"])
    assert (found.rows["val"], found.rows["test"]) == (val, test)
    assert sum(found.rows.values()) == rows


def test_splits_of_the_source_stay() -> None:
    values, splits = ["a", "b"] * 30, ["train"] * 40 + ["test"] * 20
    found = judge_with(target_of("class", values, splits), ["train", "test"])
    assert found.fractions == {"val": 0.15, "test": 0.0}
    assert found.rows == {"train": 34, "val": 6, "test": 20}
    assert found.groups == {"a": 10, "b": 10}


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="3 usable images are too few"):
        judge_with(target_of("class", ["a", "b", "a"]), ["train"])
