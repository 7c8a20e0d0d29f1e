"""Parts of the range of a number, on numbers small enough to check by hand."""

import numpy as np
import pytest

from pipeline.tasks.reports.regression_errors import parts_of_range


def test_what_lies_beyond_the_range_is_in_the_outer_parts() -> None:
    found = parts_of_range(np.array([-9.0, 0, 4.34, 8.6, 8.7, 13, 99]), 0.0, 13.0)
    assert {name: np.flatnonzero(rows).tolist() for name, rows in found.items()} == {
        "0 to 4.33": [0, 1],
        "4.33 to 8.67": [2, 3],
        "8.67 to 13": [4, 5, 6],
    }


@pytest.mark.parametrize(
    ("low", "high", "first"),
    [
        (1000, 1003, "1000 to 1001"),
        (-1e-9, 2e-9, "-1e-09 to 0"),
        (1e6, 1e6 + 1e-3, "1000000 to 1000000.0003"),
    ],
)
def test_bounds_have_as_many_digits_as_tell_them_apart(low: float, high: float, first: str) -> None:
    found = list(parts_of_range(np.array([low]), low, high))
    assert len(found) == 3
    assert found[0] == first
