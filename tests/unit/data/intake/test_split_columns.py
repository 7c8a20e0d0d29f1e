"""Columns that data.split names, from the source to the splits."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import Manifest
from pipeline.errors import DataError
from tests.support.data_samples import SPLIT, data_params, png, write_table

ROWS = 40
FRACTIONS = {"val_fraction": 0.2, "test_fraction": 0.2}


def prepared(folder: Path, split: dict[str, Any], column: pa.Array) -> Manifest:
    """A table of two classes with a column `of`."""
    labels = [row % 2 for row in range(ROWS)]
    source = write_table(folder / "t.parquet", [png(row) for row in range(ROWS)], labels, {"of": column})
    params = DataParams.model_validate(data_params(max_quarantined=0.1).model_dump() | {"split": split})
    return prepare(params, source, folder / "out", folder / "card")


def rows_of(folder: Path, split: str) -> list[int]:
    paths = sorted((folder / "out").glob(f"{split}-*.arrow"))
    return [row for path in paths for row in pa.ipc.open_file(path).read_all().column("row").to_pylist()]


def test_a_column_of_groups_keeps_them_together(tmp_path: Path) -> None:
    groups = pa.array([None if row < 4 else row // 4 for row in range(ROWS)])
    prepared(tmp_path, SPLIT | {"by": "group", "column": "of"}, groups)
    found = [{row // 4 for row in rows_of(tmp_path, split)} for split in ("train", "val", "test")]
    assert [len(members) for members in found] == [6, 2, 2]
    assert len(set.union(*found)) == 10


def test_the_latest_times_are_test_and_a_row_without_one_is_left_out(tmp_path: Path) -> None:
    times = [None if row == 7 else datetime(2026, 1, 1 + row % 20) for row in range(ROWS)]
    manifest = prepared(tmp_path, {"by": "time", "column": "of", **FRACTIONS}, pa.array(times))
    assert manifest.quarantined == {"null time": 1}
    assert {1 + row % 20 for row in rows_of(tmp_path, "test")} == {17, 18, 19, 20}
    assert {1 + row % 20 for row in rows_of(tmp_path, "val")} == {13, 14, 15, 16}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (SPLIT | {"by": "group", "column": "who"}, r"no column 'who' \(data.split.column\)"),
        (
            SPLIT | {"by": "group", "column": "of"},
            r"column 'of' \(data.split.column\) holds lists; to split by",
        ),
    ],
)
def test_a_column_that_says_no_group_is_refused(tmp_path: Path, split: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, split, pa.array([[row] for row in range(ROWS)]))
