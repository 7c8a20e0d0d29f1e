"""What every source of images gives: batches of rows, unchecked, in a fixed order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BATCH_ROWS = 256
"""Rows handed on at once. With photographs of 0.5 MB this is 128 MB, several batches being in flight."""


@dataclass(frozen=True)
class SourceBatch:
    """Consecutive rows of one file, `first_row` being their first row number.

    split: "train", "val" or "test" as the source has it; rows of a source without own splits say "train".
    cells: by column, of each row what a target is read from. slices: of each row the values of
    data.slice_columns.
    """

    file: str
    split: str
    first_row: int
    images: list[bytes | None]
    cells: Mapping[str, list[Any]]
    slices: list[tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """name, sha256: what the manifest records of it. splits: the source's own splits, at least "train".
    classes: of a target names by label, where not the labels found decide. raw_shape: (H, W, C), None for
    encoded images. batches: to be read once.
    """

    name: str
    sha256: str
    splits: list[str]
    classes: Mapping[str, list[str]]
    raw_shape: tuple[int, int, int] | None
    batches: Iterator[SourceBatch]
