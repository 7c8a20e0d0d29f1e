"""Cells of all rows of a source, without their images if these need not be read for that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.intake.readers.arrow import arrow_values, open_parquet_file, unreadable
from pipeline.data.intake.readers.listed import ListedPiece
from pipeline.data.intake.readers.parquet import ParquetPiece
from pipeline.data.intake.source import Source


@dataclass(frozen=True)
class SurveyedRows:
    """splits: by row, as the source has them. cells: by column."""

    splits: list[str]
    cells: Mapping[str, list[Any]]

    def of(self, split: str, column: str) -> list[Any]:
        pairs = zip(self.splits, self.cells[column], strict=True)
        return [cell for own, cell in pairs if own == split]


def rows_of(source: Source, columns: Sequence[str]) -> SurveyedRows:
    """Raises DataError if a file is damaged."""
    splits: list[str] = []
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    for split, found in _parts(source, columns):
        splits += split
        for column in columns:
            cells[column] += found[column]
    return SurveyedRows(splits, cells)


def _parts(source: Source, columns: Sequence[str]) -> Iterator[tuple[list[str], Mapping[str, list[Any]]]]:
    """Splits and cells of consecutive rows."""
    tables: dict[Path, ParquetPiece] = {}
    for piece in source.pieces:
        if isinstance(piece, ListedPiece):
            held = list(zip(*(row.cells for row in piece.listed), strict=True))
            yield [row.split for row in piece.listed], dict(zip(piece.columns, map(list, held), strict=True))
        elif isinstance(piece, ParquetPiece):
            tables.setdefault(piece.file.path, piece)
        else:
            for batch in piece.read():
                yield batch.splits, batch.cells
    for path, first in tables.items():
        name = first.file.shown
        with open_parquet_file(path, name) as file, unreadable(name):
            table = file.read(columns=list(columns))
        cells = {column: arrow_values(table.column(column)) for column in columns}
        yield [first.file.split] * table.num_rows, cells
