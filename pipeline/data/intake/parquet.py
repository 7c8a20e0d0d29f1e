"""A Parquet table as a source: one file, or a folder with a file for each split."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from pipeline.base.files import sha256_file, sha256_json
from pipeline.base.params import nearest
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.source import BATCH_ROWS, Source, SourceBatch
from pipeline.data.intake.splits import SPLITS
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.errors import DataError

CLASSES = "classes.json"
BYTES = "bytes"
ARROW_KINDS = {
    "integers": (pt.is_integer,),
    "numbers": (pt.is_floating, pt.is_decimal),
    "booleans": (pt.is_boolean,),
    "names": (pt.is_string, pt.is_large_string, pt.is_string_view),
}
"""What a column holds, by Arrow's types."""


def open_parquet(params: DataParams, path: Path) -> Source:
    """The table or tables at `path`; columns and classes are checked now, rows when they are read.

    Raises DataError: nothing at the path, no train.parquet in a folder, a file that is not Parquet or cannot
    be read, a column that is missing or of a wrong type, a malformed classes.json, (while reading) a damaged
    page.
    """
    try:
        return _open_source(params, path)
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: cannot be read ({error.strerror}); mend it, or change data.path"
        ) from error


def _open_source(params: DataParams, path: Path) -> Source:
    files = _split_files(path)
    kinds = {file: _check_columns(file, params) for file in files.values()}
    for column in _target_columns(params):
        if len({found[column] for found in kinds.values()}) > 1:
            found = ", ".join(f"{file.name}: {kind[column]}" for file, kind in kinds.items())
            raise DataError(f"{path}: column {column!r} has several types ({found}); give all files the same")
    names = path / CLASSES if path.is_dir() and (path / CLASSES).exists() else None
    read = [*files.values(), *([names] if names else [])]
    return Source(
        name=path.resolve().name,
        sha256=sha256_json({file.name: sha256_file(file) for file in read})
        if path.is_dir()
        else sha256_file(path),
        splits=list(files),
        classes=_read_classes(names, params) if names else {},
        raw_shape=(params.raw_shape[0], params.raw_shape[1], params.raw_shape[2])
        if params.raw_shape
        else None,
        batches=_batches(files, params),
    )


def _split_files(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise DataError(
            f"data.path {str(path)!r} does not exist; name a Parquet file or a folder with train.parquet"
        )
    files = {split: path / f"{split}.parquet" for split in SPLITS if (path / f"{split}.parquet").is_file()}
    if "train" not in files:
        found = ", ".join(sorted(entry.name for entry in path.glob("*.parquet"))) or "no Parquet file"
        raise DataError(
            f"data.path {str(path)!r} has no train.parquet (found: {found}); rename, or name one file instead"
        )
    return files


def _check_columns(path: Path, params: DataParams) -> dict[str, str]:
    """The kind of each column that a target names."""
    with _open(path) as table:
        schema = table.schema_arrow
    named = [("image_column", params.image_column)]
    named += [
        (f"targets.{name}", column) for name, target in params.targets.items() for column in target.names
    ]
    for key, column in named + [("slice_columns", column) for column in params.slice_columns]:
        if column not in schema.names:
            raise DataError(f"{path}: no column {column!r} (data.{key}){nearest(column, schema.names)}")
        if len(schema.get_all_field_indices(column)) > 1:
            raise DataError(f"{path}: column {column!r} (data.{key}) is there twice; rename one")
    image = schema.field(params.image_column).type
    if not _holds_bytes(image):
        raise DataError(
            f"{path}: column {params.image_column!r} is {image}; it must be binary (encoded files or raw "
            f"pixels), or a struct with them in its field {BYTES!r}"
        )
    for column in params.slice_columns:
        if _kind(schema.field(column).type) not in ("integers", "names"):
            raise DataError(f"{path}: column {column!r} (data.slice_columns) must hold strings or integers")
    return {
        column: _target_kind(path, schema, target, column)
        for target in params.targets.values()
        for column in target.names
    }


def _target_kind(path: Path, schema: Any, target: AnyTarget, column: str) -> str:
    found = schema.field(column).type
    kind = _kind(found)
    if kind not in target.kinds:
        raise DataError(f"{path}: column {column!r} is {found}; {target.wanted}")
    return kind


def _target_columns(params: DataParams) -> list[str]:
    return list(dict.fromkeys(column for target in params.targets.values() for column in target.names))


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


def _kind(column: Any) -> str | None:
    """What an Arrow column holds, None if nothing that can be a target or a slice.

    "lists": of integers or names.
    """
    if pt.is_dictionary(column):
        column = column.value_type
    if pt.is_list(column) or pt.is_large_list(column) or pt.is_fixed_size_list(column):
        return "lists" if _kind(column.value_type) in ("integers", "names") else None
    return next((kind for kind, tests in ARROW_KINDS.items() if any(test(column) for test in tests)), None)


def _read_classes(path: Path, params: DataParams) -> dict[str, list[str]]:
    """Class names by target: a list is of the only target that has classes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(found, ensure_ascii=False).encode()  # no lone surrogates, which JSON can hold
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); write a list of class names") from error
    targets = [name for name, target in params.targets.items() if target.field != "number"]
    if isinstance(found, dict):
        if strange := [name for name in found if name not in targets]:
            raise DataError(f"{path}: no target {strange[0]!r} with classes{nearest(strange[0], targets)}")
        return {name: _names(path, names) for name, names in found.items()}
    if len(targets) != 1:
        raise DataError(
            f'{path}: a list, but {len(targets)} targets have classes; write {{"target": [names], ...}}'
        )
    return {targets[0]: _names(path, found)}


def _names(path: Path, names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f'{path}: expected a list of class names such as ["cat", "dog"]')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: class {twice[0]!r} is listed twice; give every class its own name")
    return names


def _batches(files: dict[str, Path], params: DataParams) -> Iterator[SourceBatch]:
    for split, path in files.items():
        first = 0
        for batch in _read(path, params):
            images = _images(batch.column(params.image_column))
            cells = {column: _values(batch.column(column)) for column in _target_columns(params)}
            yield SourceBatch(path.name, split, first, images, cells, _slices(batch, params.slice_columns))
            first += len(images)


def _slices(batch: Any, names: list[str]) -> list[tuple[str, ...]]:
    columns = [_values(batch.column(name)) for name in names]
    return [
        tuple("null" if value is None else _printable(value) for value in row)
        for row in zip(*columns, strict=True)
    ] or ([()] * batch.num_rows)


def _images(column: Any) -> list[bytes | None]:
    while pt.is_struct(column.type):
        column = pc.struct_field(column, BYTES)
    images: list[bytes | None] = column.to_pylist()
    return images


def _values(column: Any) -> list[Any]:
    """Numbers, texts or lists; bytes that are no UTF-8, as other writers leave in texts, become lone
    surrogates.
    """
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        texts = column.dictionary_decode() if pt.is_dictionary(column.type) else column
        kind = pa.large_list(pa.large_binary()) if _kind(column.type) == "lists" else pa.large_binary()
        return [_decoded(value) for value in texts.cast(kind).to_pylist()]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return None if value is None else value.decode(errors="surrogateescape")


def _printable(value: int | str) -> str:
    return str(value).encode(errors="surrogateescape").decode(errors="replace")


def _read(path: Path, params: DataParams) -> Iterator[Any]:
    """The columns of a file that are needed, in batches, so that memory does not grow with the file."""
    columns = dict.fromkeys([params.image_column, *_target_columns(params), *params.slice_columns])
    with _open(path) as table:
        batches = table.iter_batches(BATCH_ROWS, columns=list(columns))
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error
            yield batch


def _open(path: Path) -> Any:
    try:
        # Without verification flipped bits of uncompressed pages come through unseen; files without checksums
        # pass.
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: not a readable Parquet file ({' '.join(str(error).split())}); get the file again"
    )
