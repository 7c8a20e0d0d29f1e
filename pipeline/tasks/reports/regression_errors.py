"""How far answers of a number are off, in every part of its range. Letter: N samples."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from pipeline.base.files import csv_text
from pipeline.tasks.judging.arrays import Bools, Floats

RANGE_PARTS = 3
"""Equal parts of the range of the training split, for which errors are stated apart."""
ERROR_QUANTILES = (0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
"""Shares of the samples whose absolute error is at most what errors.csv says."""
ERROR_COLUMNS = ("truth", "count", "mae", "bias", *(f"p{100 * quantile:g}" for quantile in ERROR_QUANTILES))
"""Columns of errors.csv: a row for all samples, then one for each part of the range of the truth."""


def parts_of_range(truths_N: Floats, low: float, high: float) -> dict[str, Bools]:
    """A mask (N,) for each part of low..high, as "0 to 4.33"; the outer ones hold what lies beyond."""
    place = (truths_N - low) / (high - low) * RANGE_PARTS
    part = np.clip(np.floor(place), 0, RANGE_PARTS - 1)
    return {name: part == number for number, name in enumerate(_part_names(low, high))}


def errors_csv(errors: Mapping[str, Floats]) -> str:
    """A row for the errors under each name; zeros if there is no sample."""
    return csv_text(ERROR_COLUMNS, [_row(name, each) for name, each in errors.items()])


def _row(name: str, errors: Floats) -> list[str | int | float]:
    if not len(errors):
        return [name, 0, *[0.0] * (len(ERROR_COLUMNS) - 2)]
    sizes = np.abs(errors)
    quantiles = np.quantile(sizes, ERROR_QUANTILES).tolist()
    return [name, len(errors), float(sizes.mean()), float(errors.mean()), *quantiles]


def _part_names(low: float, high: float) -> list[str]:
    """Bounds of each part, in the fewest digits, from three on, that tell them apart."""
    edges = np.linspace(low, high, RANGE_PARTS + 1).tolist()
    written = ([f"{edge:.{digits}g}" for edge in edges] for digits in range(3, 18))
    words = next(each for each in written if len(set(each)) == len(set(edges)))
    return [f"{first} to {last}" for first, last in pairwise(words)]
