"""Columns and files of Arrow's, as sources need them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from pipeline.errors import DataError

BUFFER_BYTES = 1 << 20
"""Read ahead of a column at once; without a buffer, a whole row group's images are."""
ARROW_KINDS = {
    "integers": (pt.is_integer,),
    "numbers": (pt.is_floating, pt.is_decimal),
    "booleans": (pt.is_boolean,),
    "names": (pt.is_string, pt.is_large_string, pt.is_string_view),
}
"""What a column holds, by Arrow's types."""
LIST_TYPES = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view, pt.is_large_list_view)


def arrow_kinds(schema: Any) -> dict[str, str]:
    """Kinds of the columns, as targets know them, or Arrow's word for the type."""
    return {
        name: kind_of_type(kind) or str(kind) for name, kind in zip(schema.names, schema.types, strict=True)
    }


def kind_of_type(column: Any) -> str | None:
    """What a column of this type holds, None if nothing that can be a target or a slice.

    "lists": of integers or names.
    """
    if pt.is_dictionary(column):
        column = column.value_type
    if is_list_type(column):
        return "lists" if kind_of_type(column.value_type) in ("integers", "names") else None
    return next((kind for kind, tests in ARROW_KINDS.items() if any(test(column) for test in tests)), None)


def is_list_type(column: Any) -> bool:
    return any(test(column) for test in LIST_TYPES)


def arrow_values(column: Any) -> list[Any]:
    """Numbers, texts or lists; bytes that are no UTF-8, as other writers leave in texts, become lone
    surrogates.
    """
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        texts = column.dictionary_decode() if pt.is_dictionary(column.type) else column
        is_lists = kind_of_type(column.type) == "lists"
        kind = pa.large_list(pa.large_binary()) if is_lists else pa.large_binary()
        return [_decoded(value) for value in texts.cast(kind).to_pylist()]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return None if value is None else value.decode(errors="surrogateescape")


@contextmanager
def unreadable(name: str) -> Iterator[None]:
    """Turn what Arrow raises of a damaged file into a DataError."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{name}: not a readable Parquet file ({' '.join(str(error).split())}); get the file again"
        ) from error


def open_parquet_file(path: Path, name: str) -> Any:
    """A file to read, called `name` in messages. Raises DataError."""
    with unreadable(name):
        # Without verification flipped bits of uncompressed pages come through unseen; files without checksums
        # pass.
        return pq.ParquetFile(path, page_checksum_verification=True, buffer_size=BUFFER_BYTES)
