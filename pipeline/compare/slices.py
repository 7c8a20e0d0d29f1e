"""Parts of the test split: by the source's own columns, and by the images themselves. Letters: N samples."""

from collections.abc import Callable

import numpy as np

from pipeline.data.fields.image import Pixels
from pipeline.evaluate.params import Slicing
from pipeline.tasks.judging.arrays import Bools, Floats

PIXEL_CHUNK_ROWS = 256
QUARTERS = 4


def quarters(shards: list[Pixels], slicings: list[Slicing]) -> dict[str, Bools]:
    """A mask (N,) for each quarter of the images by each slicing, rising: "contrast 1/4" has the least.

    shards: pixels (rows, H * W * C) of the test split. If many images are equal in it, quarters differ in
    size.
    """
    found: dict[str, Bools] = {}
    for slicing in slicings:
        measure_N = _measured(shards, MEASURES[slicing])
        inner = np.quantile(measure_N, np.arange(1, QUARTERS) / QUARTERS)
        quarter_N = np.searchsorted(inner, measure_N, side="right")
        found |= {f"{slicing} {number + 1}/{QUARTERS}": quarter_N == number for number in range(QUARTERS)}
    return found


def values(columns: dict[str, list[str]]) -> dict[str, Bools]:
    """A mask (N,) for each value of each column: "camera = 3"."""
    return {
        f"{name} = {value}": np.array([each == value for each in column])
        for name, column in columns.items()
        for value in sorted(set(column))
    }


def _brightness(pixels: Pixels) -> Floats:
    """The mean pixel of each row."""
    means: Floats = pixels.mean(axis=1)
    return means


def _contrast(pixels: Pixels) -> Floats:
    """The standard deviation of the pixels of each row."""
    deviations: Floats = pixels.std(axis=1)
    return deviations


MEASURES: dict[Slicing, Callable[[Pixels], Floats]] = {"brightness": _brightness, "contrast": _contrast}


def _measured(shards: list[Pixels], measure: Callable[[Pixels], Floats]) -> Floats:
    """(N,), a few rows at a time: in float64 a shard takes eight times its size."""
    parts = [
        shard[first : first + PIXEL_CHUNK_ROWS]
        for shard in shards
        for first in range(0, len(shard), PIXEL_CHUNK_ROWS)
    ]
    return np.concatenate([measure(part) for part in parts])
