"""Section data: bounds and cross-checks."""

from typing import Any

import pytest

from pipeline.base.params import parse_section
from pipeline.data.intake.params import DataParams
from pipeline.errors import ParamsError
from tests.support.data_samples import data_params


def parse(**changes: Any) -> DataParams:
    return parse_section("data", data_params().model_dump() | changes, DataParams)


def test_fractions_must_leave_something_for_train() -> None:
    with pytest.raises(ParamsError, match=r"val_fraction 0.5 and test_fraction 0.5 leave nothing for train"):
        parse(val_fraction=0.5, test_fraction=0.5)


def test_raw_pixels_are_grey_or_rgb() -> None:
    with pytest.raises(ParamsError, match="raw_shape ends in 4 channels"):
        parse(raw_shape=[8, 8, 4])


def test_digits_has_no_columns() -> None:
    with pytest.raises(ParamsError, match=r"slice_columns \['camera'\] need source parquet"):
        parse(source="digits", slice_columns=["camera"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raw_shape", [8, 8]),
        ("raw_shape", [8, 0, 1]),
        ("channels", 2),
        ("height", 0),
        ("max_quarantined", 1.1),
        ("source", "csv"),
    ],
)
def test_value_out_of_bounds_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ParamsError, match=rf"data\.{key}"):
        parse(**{key: value})


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match=r"unknown key 'data.shard_row'; did you mean 'shard_rows'"):
        parse(shard_row=3)
