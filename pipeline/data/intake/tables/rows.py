"""Rows of a table, whatever file it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.base.params import nearest
from pipeline.errors import DataError
from pipeline.images.defect import Defect

UNREAD = "cells that are not read"
"""Kind of a column that is not needed."""


class Needed(NamedTuple):
    """columns: that are read. texts: those of them whose cells are never numbers, as names of files.
    list_separator: between the parts of a list in a cell.
    """

    columns: list[str]
    texts: list[str]
    list_separator: str | None


@dataclass(frozen=True)
class TableRows:
    """cells: by needed column, None in a row that is bad. kinds: of all columns. bad: what is wrong with a
    row, by its number. left_out: lines that are no rows, counted by reason.
    """

    cells: Mapping[str, Sequence[Any]]
    kinds: Mapping[str, str]
    bad: Mapping[int, Defect]
    left_out: Mapping[str, int]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.cells, row, strict=True)) for row in zip(*self.cells.values(), strict=True))


def demand_once(name: str, header: Sequence[str], needed: Sequence[str]) -> None:
    """Raises DataError for a needed column that a table lacks, or has twice."""
    for column in needed:
        if column not in header:
            raise DataError(f"{name}: no column {column!r}{nearest(column, list(header))}")
        if header.count(column) > 1:
            raise DataError(f"{name}: column {column!r} is there twice; rename one")
