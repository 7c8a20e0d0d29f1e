"""Parquet tables that hold their images: one file, or as many as hubs and Spark write."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.intake.readers.arrow import arrow_kinds, arrow_values, open_parquet_file, unreadable
from pipeline.data.intake.readers.listed import classes_json
from pipeline.data.intake.readers.parquet_files import same_columns, split_files
from pipeline.data.intake.readers.parquet_images import check_image_column, images_of
from pipeline.data.intake.source import BATCH_BYTES, BATCH_ROWS, SPLITS, Source, SourceBatch, ranges
from pipeline.data.intake.sources.parquet import ParquetSource
from pipeline.data.intake.trees.blob import printable_name
from pipeline.data.intake.trees.tree import open_tree
from pipeline.data.intake.trees.zip import is_bomb
from pipeline.errors import DataError

HUGGINGFACE = b"huggingface"
"""Key of a schema's metadata under which that hub's library notes names of classes."""
MOST_PARTS = 16
"""Pieces of a row group: who reads the last of them decompresses those before it too."""


@dataclass(frozen=True)
class _File:
    """name: below the source's path, printable. shown: the same with the source's name. path: where it lies,
    decompressed.
    """

    name: str
    shown: str
    path: Path
    split: str


def open_parquet(params: ParquetSource, path: Path, columns: list[str], scratch: Path) -> Source:
    """The table or tables at `path`; their schema is checked now, rows when they are read.

    Raises DataError: nothing at the path, no file of train, a file that is not Parquet or cannot be read, no
    column of images, a column that files disagree on, (while reading) a damaged page.
    """
    tree = open_tree(path, scratch)
    splits, others = split_files(tree.name, list(tree.files))
    files = [
        _File(printable_name(name), tree.shown(name), tree.local(name), split)
        for name, split in splits.items()
    ]
    schemas = {file.name: _schema(file, params, columns) for file in files}
    kinds = {name: arrow_kinds(schema) for name, schema in schemas.items()}
    same_columns(kinds, columns, tree.name)
    first = next(iter(kinds.values()))
    wanted = (params.image_column, *(column for column in columns if column in first))
    raw = params.raw_shape
    return Source(
        name=tree.name,
        splits=[split for split in SPLITS if split in splits.values()],
        columns=first,
        classes=_same_classes(tree.name, schemas),
        classes_json=classes_json(tree),
        raw_shape=(raw[0], raw[1], raw[2]) if raw else None,
        pieces=[piece for file in files for piece in _pieces(file, wanted)],
        left_out=dict(tree.left_out) | ({"Parquet files of no split": others} if others else {}),
    )


@dataclass(frozen=True)
class ParquetPiece:
    """Consecutive rows of one row group. first: number in the file. skip: rows of the group before it.
    batch_rows: handed on at once. columns: that of the images first.
    """

    file: _File
    group: int
    first: int
    skip: int
    rows: int
    batch_rows: int
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
            files=[self.file.name] * batch.num_rows,
            rows=list(range(first, first + batch.num_rows)),
            splits=[self.file.split] * batch.num_rows,
            images=images_of(batch.column(image)),
            cells={column: arrow_values(batch.column(column)) for column in columns},
        )

    def _batches(self) -> Iterator[Any]:
        with open_parquet_file(self.file.path, self.file.shown) as table:
            columns = list(dict.fromkeys(self.columns))
            batches = table.iter_batches(self.batch_rows, [self.group], columns=columns)
            while True:
                with unreadable(self.file.shown):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch


def _pieces(file: _File, columns: tuple[str, ...]) -> Iterator[ParquetPiece]:
    with open_parquet_file(file.path, file.shown) as table, unreadable(file.shown):
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
    before = 0
    for number, group in enumerate(groups):
        size = _image_bytes(file, group, columns[0])
        batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(1, size)))
        for part in ranges(group.num_rows, most=MOST_PARTS) if group.num_rows else ():
            yield ParquetPiece(file, number, before + part.start, part.start, len(part), batch_rows, columns)
        before += group.num_rows


def _image_bytes(file: _File, group: Any, column: str) -> int:
    """Size of a row group's images. Raises DataError if they are compressed beyond all measure."""
    with unreadable(file.shown):
        found = [group.column(number) for number in range(group.num_columns)]
        chunks = [each for each in found if f"{each.path_in_schema}.".startswith(f"{column}.")]
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    packed = sum(chunk.total_compressed_size for chunk in chunks)
    if is_bomb(size, packed):
        raise DataError(f"{file.shown}: a decompression bomb, {packed} bytes of which would become {size}")
    return int(size)


def _schema(file: _File, params: ParquetSource, columns: Sequence[str]) -> Any:
    """Raises DataError for a column that is wanted and there twice, or has no images."""
    with open_parquet_file(file.path, file.shown) as table, unreadable(file.shown):
        schema = table.schema_arrow
    for column in (params.image_column, *columns):
        if len(schema.get_all_field_indices(column)) > 1:
            raise DataError(f"{file.shown}: column {column!r} is there twice; rename one")
    check_image_column(file.shown, schema, params.image_column, params.raw_shape is not None)
    return schema


def _same_classes(source: str, schemas: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of classes by column, as schemas say them. Raises DataError if files disagree."""
    found = {name: _classes(schema) for name, schema in schemas.items()}
    first, *others = found
    for name in others:
        if found[name] != found[first]:
            raise DataError(f"{source}: {first} and {name} have other names of classes; give all the same")
    return found[first]


def _classes(schema: Any) -> dict[str, list[str]]:
    try:
        noted = json.loads((schema.metadata or {}).get(HUGGINGFACE, b"{}"))
        features = noted["info"]["features"].items()
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):  # some other note
        return {}
    return {column: names for column, feature in features if (names := _class_names(feature))}


def _class_names(feature: Any) -> list[str]:
    """Names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return []
    return names if len(set(names)) == len(names) else []
