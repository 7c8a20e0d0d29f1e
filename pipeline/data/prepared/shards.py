"""Prepared images at rest: uncompressed Arrow IPC files, read by memory map, O(1) to a row.

Knows no torch, so that preparing data does not wait for its import; everything else reads through reader.py.

Columns: those of the manifest's fields, file and row (where the row stood in the source), and one named
slice.x for each x in data.slice_columns.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.base.files import sha256_file
from pipeline.base.params import nearest
from pipeline.data.fields.field import ORIGIN, PIXELS, AnyField, Values
from pipeline.data.fields.image import Pixels
from pipeline.data.prepared.encoded import Encoded
from pipeline.data.prepared.manifest import REMEDY, Manifest, ShardInfo, read_manifest
from pipeline.errors import DataError

Indices = npt.NDArray[np.int64]
SLICE = "slice."
Identity = tuple[str, tuple[int, ...], str]
"""Path of a file, what the system says of it, and the digest that its bytes had."""
_verified: set[Identity] = set()
"""Shards that this process has read once and found as the manifest says."""


class Rows(Protocol):
    """Values of a field, (rows, ...), wherever they are."""

    def __getitem__(self, rows: Indices, /) -> Values: ...


class Files(Protocol):
    """Encoded images of rows, wherever they are."""

    def __getitem__(self, rows: Indices, /) -> Encoded: ...


class Table(NamedTuple):
    """Rows to be written. columns: values of each field. others: source file and row number of each row, and
    its values of data.slice_columns, in the columns of a shard.
    """

    fields: Mapping[str, AnyField]
    columns: Mapping[str, Rows]
    others: pa.Table


def origins(files: Sequence[str], rows: Sequence[int] | Indices) -> pa.Table:
    """Others of rows that have no slices."""
    return pa.table(
        dict(zip(ORIGIN, (pa.array(files, pa.string()), pa.array(rows, pa.int64())), strict=True))
    )


def write_shards(
    folder: Path,
    name: str,
    table: Table,
    indices: Indices,
    shard_rows: int,
    encoded: Files | None = None,
) -> list[ShardInfo]:
    """Write the rows at `indices` as <name>-00000.arrow and so on, the same bytes for the same rows.

    encoded: images of all rows of the table, to be written instead of their pixels.
    """
    shards = []
    for number, first in enumerate(range(0, len(indices), shard_rows)):
        rows = indices[first : first + shard_rows]
        path = folder / f"{name}-{number:05d}.arrow"
        _write_shard(path, table, rows, encoded)
        shards.append(ShardInfo(file=path.name, rows=len(rows), sha256=sha256_file(path)))
    return shards


def _write_shard(path: Path, table: Table, rows: Indices, encoded: Files | None) -> None:
    values = {
        name: encoded[rows].column()
        if name == PIXELS and encoded is not None
        else field.stored(table.columns[name][rows])
        for name, field in table.fields.items()
    }
    others = table.others.take(pa.array(rows)).combine_chunks()
    columns = {
        name: column.chunk(0) for name, column in zip(others.column_names, others.columns, strict=True)
    }
    batch = pa.record_batch(values | columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def map_shards(folder: Path, name: str) -> dict[str, list[Any]]:
    """Values of each field of split `name`, or its Encoded images, shard by shard, as views of the files.

    Every shard is read once in each process and compared with the manifest, at about a millisecond a
    megabyte. Raises DataError if the split or a shard is missing, malformed or not as it was written.
    """
    manifest = read_manifest(folder)
    if name not in manifest.splits:
        raise DataError(f"{folder} has no split {name!r}{nearest(name, list(manifest.splits))}")
    split = manifest.splits[name]
    mapped = [_map_shard(folder, info, manifest, split.images) for info in split.shards]
    return {field: [shard[field] for shard in mapped] for field in manifest.fields}


def read_slices(folder: Path, name: str) -> dict[str, list[str]]:
    """Values of split `name`, one for each row, in each of data.slice_columns.

    To be called after map_shards, which checks.
    """
    shards = [
        pa.ipc.open_file(pa.memory_map(str(folder / info.file)))
        for info in read_manifest(folder).splits[name].shards
    ]
    columns = [column for column in shards[0].schema.names if column.startswith(SLICE)]
    return {
        column.removeprefix(SLICE): [
            value for shard in shards for value in shard.get_batch(0).column(column).to_pylist()
        ]
        for column in columns
    }


def gather_rows(shards: Sequence[Pixels], rows: Indices) -> Pixels:
    """A copy of the pixels of some rows, numbered over all shards: (len(rows), H * W * C)."""
    if len(shards) == 1:
        return shards[0][rows]  # twice as fast as numpy's take
    ends = np.cumsum([len(shard) for shard in shards])
    gathered = np.empty((len(rows), shards[0].shape[1]), np.uint8)
    homes = np.searchsorted(ends, rows, side="right")
    for home in np.unique(homes).tolist():
        here = homes == home
        gathered[here] = shards[home][rows[here] - (ends[home] - len(shards[home]))]
    return gathered


def _map_shard(folder: Path, info: ShardInfo, manifest: Manifest, images: str) -> dict[str, Any]:
    """The values of each field of a shard, as read-only views of the mapped file.

    images: how the split keeps them.
    """
    path = folder / info.file
    _verify(path, info.sha256)
    try:
        batch: Any = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        columns = {name: batch.column(name) for name in manifest.fields}
    except (OSError, pa.ArrowException, KeyError, IndexError) as error:
        raise DataError(f"{path}: not a readable shard ({' '.join(str(error).split())}); {REMEDY}") from error
    if batch.num_rows != info.rows:
        raise DataError(f"{path}: {batch.num_rows} rows, but the manifest says {info.rows}; {REMEDY}")
    try:
        return {
            name: Encoded.read(columns[name])
            if name == PIXELS and images == "encoded"
            else field.read(columns[name])
            for name, field in manifest.fields.items()
        }
    except ValueError as error:
        raise DataError(f"{path}: {error}; {REMEDY}") from error


def _verify(path: Path, sha256: str) -> None:
    """Raises DataError if the bytes of a shard are not those that the manifest names."""
    try:
        found = path.stat()
        identity = (
            str(path.absolute()),
            (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns),
            sha256,
        )
        if identity not in _verified and sha256_file(path) != sha256:
            raise DataError(
                f"{path}: its SHA-256 is not the manifest's: it is damaged, exchanged or edited; {REMEDY}"
            )
    except OSError as error:
        raise DataError(f"{path}: not a readable shard ({error.strerror}); {REMEDY}") from error
    _verified.add(identity)
