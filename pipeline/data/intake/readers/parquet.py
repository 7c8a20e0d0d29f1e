"""A Parquet table as a source: one file, or a folder with a file for each split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.types as pt

from pipeline.base.params import nearest
from pipeline.data.intake.readers.arrow import arrow_kinds, arrow_values, open_parquet_file, unreadable
from pipeline.data.intake.source import BATCH_ROWS, CLASSES, SPLITS, Source, SourceBatch, ranges
from pipeline.data.intake.sources.parquet import ParquetSource
from pipeline.errors import DataError
from pipeline.images.defect import Defect

BYTES = "bytes"
MOST_PARTS = 16
"""Pieces of a row group: who reads the last of them decompresses those before it too."""


def open_parquet(params: ParquetSource, path: Path, columns: list[str]) -> Source:
    """The table or tables at `path`; their schema is checked now, rows when they are read.

    Raises DataError: nothing at the path, no train.parquet in a folder, a file that is not Parquet or cannot
    be read, no column of images, a column that files disagree on, (while reading) a damaged page.
    """
    files, names = _split_files(path), path / CLASSES
    schemas = {file: _schema(file, [params.image_column, *columns]) for file in files.values()}
    for file, schema in schemas.items():
        _check_images(file, schema, params.image_column)
    kinds = {file: arrow_kinds(schema) for file, schema in schemas.items()}
    for column in columns:
        found = {file.name: kinds[file][column] for file in kinds if column in kinds[file]}
        if 0 < len(found) < len(files):
            lacking = next(file for file in kinds if column not in kinds[file])
            raise DataError(f"{lacking}: no column {column!r}{nearest(column, list(kinds[lacking]))}")
        if len(set(found.values())) > 1:
            each = ", ".join(f"{name}: {kind}" for name, kind in found.items())
            raise DataError(f"{path}: column {column!r} has several types ({each}); give all files the same")
    first = next(iter(kinds.values()))
    wanted = (params.image_column, *(column for column in columns if column in first))
    return Source(
        name=path.resolve().name,
        splits=list(files),
        columns=first,
        classes={},
        classes_json=names.read_bytes() if path.is_dir() and names.exists() else None,
        raw_shape=(params.raw_shape[0], params.raw_shape[1], params.raw_shape[2])
        if params.raw_shape
        else None,
        pieces=[piece for split, file in files.items() for piece in _pieces(file, split, wanted)],
        left_out={},
    )


@dataclass(frozen=True)
class ParquetPiece:
    """Consecutive rows of one row group. first: number in the file. skip: rows of the group before it.
    columns: that of the images first.
    """

    path: Path
    split: str
    group: int
    first: int
    skip: int
    rows: int
    columns: tuple[str, ...]

    def read(self) -> Iterator[SourceBatch]:
        before, first, last = 0, self.skip, self.skip + self.rows
        for batch in self._batches():
            start, stop = max(first - before, 0), min(last - before, batch.num_rows)
            if start < stop:
                yield self._source_batch(batch.slice(start, stop - start), before + start - first)
            before += batch.num_rows
            if before >= last:
                return

    def _source_batch(self, batch: Any, offset: int) -> SourceBatch:
        image, *columns = self.columns
        first = self.first + offset
        return SourceBatch(
            files=[self.path.name] * batch.num_rows,
            rows=list(range(first, first + batch.num_rows)),
            splits=[self.split] * batch.num_rows,
            images=_images(batch.column(image)),
            cells={column: arrow_values(batch.column(column)) for column in columns},
        )

    def _batches(self) -> Iterator[Any]:
        with open_parquet_file(self.path) as table:
            batches = table.iter_batches(BATCH_ROWS, [self.group], columns=list(dict.fromkeys(self.columns)))
            while True:
                with unreadable(self.path):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch


def _pieces(path: Path, split: str, columns: tuple[str, ...]) -> Iterator[ParquetPiece]:
    with open_parquet_file(path) as table:
        groups = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]
    before = 0
    for group, rows in enumerate(groups):
        for part in ranges(rows, most=MOST_PARTS) if rows else ():
            yield ParquetPiece(path, split, group, before + part.start, part.start, len(part), columns)
        before += rows


def _split_files(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise DataError(
            f"data.source.path {str(path)!r} does not exist; name a Parquet file or a folder with "
            "train.parquet"
        )
    files = {split: path / f"{split}.parquet" for split in SPLITS if (path / f"{split}.parquet").is_file()}
    if "train" not in files:
        found = ", ".join(sorted(entry.name for entry in path.glob("*.parquet"))) or "no Parquet file"
        raise DataError(
            f"data.source.path {str(path)!r} has no train.parquet (found: {found}); rename, or name one file "
            "instead"
        )
    return files


def _schema(path: Path, columns: Sequence[str]) -> Any:
    """Raises DataError for a column that is wanted and there twice."""
    with open_parquet_file(path) as table:
        schema = table.schema_arrow
    for column in columns:
        if len(schema.get_all_field_indices(column)) > 1:
            raise DataError(f"{path}: column {column!r} is there twice; rename one")
    return schema


def _check_images(path: Path, schema: Any, column: str) -> None:
    if column not in schema.names:
        known = nearest(column, schema.names)
        raise DataError(f"{path}: no column {column!r} (data.source.image_column){known}")
    image = schema.field(column).type
    if not _holds_bytes(image):
        raise DataError(
            f"{path}: column {column!r} is {image}; it must be binary (encoded files or raw pixels), or a "
            f"struct with them in its field {BYTES!r}"
        )


def _holds_bytes(column: Any) -> bool:
    """Whether an Arrow type is of bytes, also packed as in Hugging Face's data sets: struct<bytes, path>."""
    if pt.is_struct(column):
        return column.get_field_index(BYTES) >= 0 and _holds_bytes(column.field(BYTES).type)
    if pt.is_dictionary(column):
        column = column.value_type
    return any(
        is_kind(column)
        for is_kind in (pt.is_binary, pt.is_large_binary, pt.is_fixed_size_binary, pt.is_binary_view)
    )


def _images(column: Any) -> list[bytes | Defect]:
    while pt.is_struct(column.type):
        column = pc.struct_field(column, BYTES)
    found = column.to_pylist()
    return [Defect("null image", "the image is null") if image is None else image for image in found]
