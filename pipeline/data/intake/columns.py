"""Arrow columns as arrays of numpy. Not through `to_numpy`, which imports pandas (0.3 s or more)."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.prepared.shards import Indices

Bytes: TypeAlias = npt.NDArray[np.uint8]


def integers(column: Any) -> Indices:
    """(N,) of a column of int64 without nulls."""
    return np.frombuffer(_whole(column).buffers()[1], np.int64, len(column))


def doubles(column: Any) -> npt.NDArray[np.float64]:
    """(N,) of a column of numbers without nulls."""
    return np.frombuffer(_whole(column).cast(pa.float64()).buffers()[1], np.float64, len(column))


def fixed_bytes(column: Any) -> Bytes:
    """(N, width) of a column of fixed-size binary without nulls."""
    width = column.type.byte_width
    return np.frombuffer(_whole(column).buffers()[1], np.uint8, len(column) * width).reshape(-1, width)


def by_channel(column: Any) -> Indices:
    """(N, C) of a column of lists of C integers."""
    return integers(_whole(column).flatten()).reshape(-1, column.type.list_size)


def where(column: Any) -> Indices:
    """Numbers of the rows in which a column is true."""
    return integers(pc.indices_nonzero(_whole(column)).cast(pa.int64()))


def count_values(column: Any) -> dict[Any, int]:
    """How often each value is there, in their order."""
    found = {each["values"]: each["counts"] for each in _whole(column).value_counts().to_pylist()}
    return dict(sorted(found.items()))


def take_rows(table: pa.Table, rows: Indices) -> pa.Table:
    """Some rows of a table, as whole columns without offsets."""
    return table.take(pa.array(rows, pa.int64())).combine_chunks()


def _whole(column: Any) -> Any:
    """A column in one piece, whose buffers begin with its first row."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return pa.concat_arrays([column]) if column.offset else column
