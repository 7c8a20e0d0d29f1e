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
    """splits: by row, as the source has them. cells: by column. files: by row, "" if they were not read."""

    splits: list[str]
    cells: Mapping[str, list[Any]]
    files: list[str]


def rows_of(source: Source, columns: Sequence[str]) -> SurveyedRows:
    """Raises DataError if a file is damaged."""
    rows = SurveyedRows([], {column: [] for column in columns}, [])
    for splits, cells, files in _parts(source, columns):
        rows.splits.extend(splits)
        rows.files.extend(files)
        for column in columns:
            rows.cells[column].extend(cells[column])
    return rows


def _parts(
    source: Source, columns: Sequence[str]
) -> Iterator[tuple[list[str], Mapping[str, list[Any]], list[str]]]:
    """Splits, cells and files of consecutive rows."""
    tables: dict[Path, ParquetPiece] = {}
    for piece in source.pieces:
        if isinstance(piece, ListedPiece):
            held = zip(*(row.cells for row in piece.listed), strict=True)
            cells = dict(zip(piece.columns, map(list, held), strict=True))
            yield [row.split for row in piece.listed], cells, [row.file for row in piece.listed]
        elif isinstance(piece, ParquetPiece):
            tables.setdefault(piece.file.path, piece)
        else:
            for batch in piece.read():
                yield batch.splits, batch.cells, [""] * len(batch.rows)
    for path, first in tables.items():
        name = first.file.shown
        with open_parquet_file(path, name) as file, unreadable(name):
            table = file.read(columns=list(columns))
        cells = {column: arrow_values(table.column(column)) for column in columns}
        yield [first.file.split] * table.num_rows, cells, [""] * table.num_rows
