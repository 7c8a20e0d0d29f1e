"""Section data: bounds and cross-checks."""

from typing import Any

import pytest

from pipeline.base.params import parse_section
from pipeline.data.intake.params import DataParams
from pipeline.errors import ParamsError
from tests.support.data_samples import DIGITS, LIMITS, SPLIT, data_params, parquet_source


def parse(**changes: Any) -> DataParams:
    return parse_section("data", data_params().model_dump() | changes, DataParams)


def test_fractions_must_leave_something_for_train() -> None:
    message = r"split.val_fraction 0.5 and split.test_fraction 0.5 leave nothing for train"
    with pytest.raises(ParamsError, match=message):
        parse(split=SPLIT | {"val_fraction": 0.5, "test_fraction": 0.5})


def test_raw_pixels_are_grey_or_rgb() -> None:
    with pytest.raises(ParamsError, match="raw_shape ends in 4 channels"):
        parse(source=parquet_source(raw_shape=[8, 8, 4]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slice_columns": ["camera"]}, "slice_columns: source digits has no column 'camera', only 'label'"),
        (
            {"targets": {"n": {"field": "number", "column": "count"}}},
            "targets.n: source digits has no column 'count', only 'label'",
        ),
    ],
)
def test_digits_has_one_column(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(source=DIGITS, **changes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (parquet_source(raw_shape=[8, 8]), r"data\.source\.raw_shape"),
        (parquet_source(raw_shape=[8, 0, 1]), r"data\.source\.raw_shape"),
        (parquet_source(kind="parket"), "data.source.kind is 'parket'; did you mean 'parquet'"),
        ({"path": "x"}, "key 'data.source.kind' is missing"),
        (DIGITS | {"path": "data/raw"}, r"data\.source\.path"),
        ("parquet", r"data.source: a section now; write source: \{kind: parquet, path: ..., ...\}"),
    ],
)
def test_a_wrong_source_names_its_key(source: Any, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(source=source)


def test_keys_of_before_are_told_their_place() -> None:
    old = data_params().model_dump() | {"path": "data/raw", "image_column": "image", "raw_shape": None}
    old["source"] = "parquet"
    with pytest.raises(ParamsError) as caught:
        parse_section("data", old, DataParams)
    assert str(caught.value).splitlines() == [
        "params.yaml: data.source: a section now; write source: {kind: parquet, path: ..., ...}",
        "params.yaml: key 'data.path' is called 'data.source.path' now; rename it",
        "params.yaml: key 'data.image_column' is called 'data.source.image_column' now; rename it",
        "params.yaml: key 'data.raw_shape' is called 'data.source.raw_shape' now; rename it",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", 2),
        ("height", 0),
    ],
)
def test_value_out_of_bounds_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ParamsError, match=rf"data\.{key}"):
        parse(**{key: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits": LIMITS | {"max_quarantined": 1.1}}, r"data\.limits\.max_quarantined is 1\.1"),
        ({"split": SPLIT | {"by": "row"}}, r"data\.split\.by is 'row'; did you mean 'rows'"),
        ({"split": SPLIT | {"by": "group"}}, r"key 'data\.split\.column' is missing"),
        ({"split": SPLIT | {"fold": {"of": 5, "index": 5}}}, r"index 5 is not in 0..4, the parts of 5"),
        ({"source": DIGITS, "split": SPLIT | {"by": "group", "column": "who"}}, r"split.column: .* 'who'"),
        ({"seed": 0}, r"key 'data.seed' is called 'data.split.seed' now"),
        ({"strict": True}, r"key 'data.strict' is called 'data.limits.strict' now"),
    ],
)
def test_splits_and_limits_name_their_keys(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(**changes)


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match=r"unknown key 'data.shard_row'; did you mean 'shard_rows'"):
        parse(shard_row=3)
